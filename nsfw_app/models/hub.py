"""Model files: from a local directory, the model hub's cache, or the model hub.

- A hub that does not respond costs one request of at most 3 s, not the retries of its library.
- A model is always loaded from a directory on this machine, and its revision is known.
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

PROBE_S = 3.0
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
WEIGHT_INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model on this machine. `revision` is its commit hash, None for a plain directory."""

    directory: Path
    weights: tuple[Path, ...]
    revision: str | None


def find(model: str, *, revision: str) -> ModelFiles:
    """A model's files, downloaded if they are not on this machine.

    Args:
        model: A local directory, or a hub id such as `owner/name`.
        revision: Branch, tag or commit; ignored for a directory.

    Raises:
        ModelNotFound: Neither directory, cache nor hub has it; the message says what to do.
    """
    if local := find_local(model, revision=revision):
        return local
    if problem := hub_problem(model, revision=revision):
        raise ModelNotFound(
            f"The model '{display_name(model)}' (revision {revision}) is neither a directory nor "
            f"in the local cache, and {problem} Check the name, connect to the hub once, or set "
            "NSFW_MODEL to a directory saved with save_pretrained."
        )
    return download(model, revision=revision)


def find_local(model: str, *, revision: str) -> ModelFiles | None:
    """The files of a directory, or of the hub's cache when it has all of them; else None.

    Raises:
        ModelNotFound: The directory does not hold a complete model.
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


def is_hub_id(model: str) -> bool:
    """Whether a name can be that of a model on the hub."""
    try:
        huggingface_hub.hf_hub_url(model, "config.json")
    except HFValidationError:
        return False
    return True


def hub_problem(model: str, *, revision: str) -> str | None:
    """Why the hub cannot provide this model, after one request; None when it can.

    Returns:
        A clause that ends a sentence, or None.
    """
    if huggingface_hub.constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE forbids requests to the model hub."
    try:
        url = huggingface_hub.hf_hub_url(model, "config.json", revision=revision)
    except HFValidationError:
        return "it is not a hub id of the form owner/name."
    # A DNS lookup ignores the request's timeout, so the wait is bounded from outside. The thread
    # is a daemon, so that it does not keep the process from ending.
    response: Future[None] = Future()
    threading.Thread(target=_probe, args=(url, response), name="hub-probe", daemon=True).start()
    try:
        response.result(PROBE_S)
    except urllib.error.HTTPError as error:
        if error.code in {401, 403, 404}:
            return "the model hub does not have it, or requires a token for it."
        return f"the model hub responded with status {error.code}."
    except TimeoutError:
        return f"the model hub did not respond within {PROBE_S:g} s."
    except (OSError, HTTPException):
        return "the model hub cannot be reached."
    except ValueError:
        return f"HF_ENDPOINT is not a URL: '{huggingface_hub.constants.ENDPOINT}'."
    return None


def _probe(url: str, response: Future[None]) -> None:
    """Send one HEAD request and set the future to its outcome."""
    token = huggingface_hub.get_token()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        # The scheme is that of HF_ENDPOINT.
        request = urllib.request.Request(url, method="HEAD", headers=headers)  # noqa: S310
        urllib.request.urlopen(request, timeout=PROBE_S).close()  # noqa: S310
    except (OSError, HTTPException, ValueError) as error:
        response.set_exception(error)
    else:
        response.set_result(None)


def download(model: str, *, revision: str) -> ModelFiles:
    """Download a model's files into the hub's cache. Call it only after `hub_problem` was None.

    Raises:
        ModelNotFound: The download failed, or the model has no weight files of a known name.
    """
    try:
        config = Path(huggingface_hub.hf_hub_download(model, "config.json", revision=revision))
        commit = config.parent.name
        _download_if_present(model, "preprocessor_config.json", commit)
        if not any(_download_if_present(model, name, commit) for name in WEIGHT_FILES):
            _download_shards(model, commit)
        return _in_directory(config.parent, commit)
    except ModelNotFound as error:
        raise ModelNotFound(
            f"The files of '{model}' on the model hub are not complete. Try again later, or set "
            "NSFW_MODEL to another one."
        ) from error
    except (httpx2.HTTPError, OSError) as error:
        raise ModelNotFound(
            f"Downloading '{model}' from the model hub failed: {error} Try again, or set "
            "NSFW_MODEL to a directory saved with save_pretrained."
        ) from error


def _download_shards(model: str, commit: str) -> None:
    for name in WEIGHT_INDEXES:
        if index := _download_if_present(model, name, commit):
            for shard in _shards(index):
                huggingface_hub.hf_hub_download(model, shard, revision=commit)
            return


def _download_if_present(model: str, name: str, commit: str) -> Path | None:
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
