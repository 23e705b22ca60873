"""Where a model's files come from: a local directory, the hub's cache, or the hub.

What always holds: a hub that does not answer at all costs one short request, not the retries of
its library; and what is loaded is a directory on this machine, whose revision is known.
"""

import json
import threading
import urllib.error
import urllib.request
from concurrent.futures import Future
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

import httpx2
import huggingface_hub
from huggingface_hub.errors import HFValidationError, RemoteEntryNotFoundError

from nsfw_app.errors import ModelNotFound
from nsfw_app.models.cards import display_name

PROBE_SECONDS = 3.0
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
WEIGHT_INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model on this disk. `revision` is its commit hash, None for a plain directory."""

    directory: Path
    weights: tuple[Path, ...]
    revision: str | None


def find(model: str, *, revision: str) -> ModelFiles:
    """A model's files, fetched if need be.

    Args:
        model: A local directory, or a hub id such as `owner/name`.
        revision: Branch, tag or commit; ignored for a directory.

    Raises:
        ModelNotFound: It is in none of the places; the message says what to do.
    """
    if here := find_here(model, revision=revision):
        return here
    if problem := unreachable(model, revision=revision):
        raise ModelNotFound(
            f"The model '{display_name(model)}' (revision {revision}) is neither a directory nor "
            f"in the local cache, and {problem} Check the name, connect to the hub once, or set "
            "NSFW_MODEL to a directory saved with save_pretrained."
        )
    return fetch(model, revision=revision)


def find_here(model: str, *, revision: str) -> ModelFiles | None:
    """The files of a directory, or of the hub's cache when it holds all of them.

    Raises:
        ModelNotFound: The directory named holds no complete model.
    """
    directory = Path(model).expanduser()
    if directory.is_dir():
        return _in_directory(directory, None)
    try:
        config = huggingface_hub.try_to_load_from_cache(model, "config.json", revision=revision)
    except HFValidationError:
        return None
    if not isinstance(config, str):
        return None
    snapshot = Path(config).parent
    try:
        return _in_directory(snapshot, snapshot.name)
    except ModelNotFound:
        return None


def unreachable(model: str, *, revision: str) -> str | None:
    """Why the hub cannot give this model, found out with one request; None when it can.

    Returns:
        A clause that ends a sentence, or None.
    """
    if huggingface_hub.constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE forbids asking the model hub."
    try:
        url = huggingface_hub.hf_hub_url(model, "config.json", revision=revision)
    except HFValidationError:
        return "it is not a hub id of the form owner/name."
    # Looking up a host ignores the request's timeout, so the wait is bounded from outside, and
    # the thread is a daemon so that it does not keep the process from ending.
    answer: Future[None] = Future()
    threading.Thread(target=_ask, args=(url, answer), name="hub-probe", daemon=True).start()
    try:
        answer.result(PROBE_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code in {401, 403, 404}:
            return "the model hub does not have it, or wants a token for it."
        return f"the model hub answered with status {error.code}."
    except TimeoutError:
        return f"the model hub did not answer within {PROBE_SECONDS:g} s."
    except (OSError, HTTPException):
        return "the model hub cannot be reached."
    except ValueError:
        return f"HF_ENDPOINT is no address: '{huggingface_hub.constants.ENDPOINT}'."
    return None


def _ask(url: str, answer: Future[None]) -> None:
    """One HEAD request; what came of it goes into the future."""
    token = huggingface_hub.get_token()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        # The scheme is the one of HF_ENDPOINT.
        request = urllib.request.Request(url, method="HEAD", headers=headers)  # noqa: S310
        urllib.request.urlopen(request, timeout=PROBE_SECONDS).close()  # noqa: S310
    except (OSError, HTTPException, ValueError) as error:
        answer.set_exception(error)
    else:
        answer.set_result(None)


def fetch(model: str, *, revision: str) -> ModelFiles:
    """A model's files from the hub, into its cache. Only after `unreachable` said None.

    Raises:
        ModelNotFound: Fetching failed, or the model has no weights that are known.
    """
    try:
        config = Path(huggingface_hub.hf_hub_download(model, "config.json", revision=revision))
        commit = config.parent.name
        _optional(model, "preprocessor_config.json", commit)
        if not any(_optional(model, name, commit) for name in WEIGHT_FILES):
            _fetch_shards(model, commit)
        return _in_directory(config.parent, commit)
    except ModelNotFound as error:
        raise ModelNotFound(
            f"What the model hub has of '{model}' is not complete. Try again later, or set "
            "NSFW_MODEL to another one."
        ) from error
    except (httpx2.HTTPError, OSError) as error:
        raise ModelNotFound(
            f"Fetching '{model}' from the model hub failed: {error} Try again, or set "
            "NSFW_MODEL to a directory saved with save_pretrained."
        ) from error


def _fetch_shards(model: str, commit: str) -> None:
    for name in WEIGHT_INDEXES:
        if index := _optional(model, name, commit):
            for shard in _shards(index):
                huggingface_hub.hf_hub_download(model, shard, revision=commit)
            return


def _optional(model: str, name: str, commit: str) -> Path | None:
    try:
        return Path(huggingface_hub.hf_hub_download(model, name, revision=commit))
    except RemoteEntryNotFoundError:
        return None


def _shards(index: Path) -> list[str]:
    try:
        return sorted(set(json.loads(index.read_text())["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelNotFound(
            f"{index.name} of '{index.parent.name}' does not list the model's weight files. "
            "Download or save the model again."
        ) from error


def _in_directory(directory: Path, revision: str | None) -> ModelFiles:
    """The files of a saved model.

    Raises:
        ModelNotFound: Configuration or weights are missing.
    """
    if (directory / "config.json").is_file():
        for name in WEIGHT_FILES:
            if (directory / name).is_file():
                return ModelFiles(directory, (directory / name,), revision)
        for name in WEIGHT_INDEXES:
            if (directory / name).is_file():
                shards = tuple(directory / shard for shard in _shards(directory / name))
                if all(shard.is_file() for shard in shards):
                    return ModelFiles(directory, shards, revision)
    raise ModelNotFound(
        f"'{directory.name}' holds no complete model: config.json and "
        f"{' or '.join(WEIGHT_FILES)} are needed, as save_pretrained writes them."
    )
