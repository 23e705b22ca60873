"""Model selection: `auto` and its fallback, and names that never fall back.

The hub runs on 127.0.0.1. Its client has read its environment at import, so these tests set the
client's constants instead.
"""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from shutil import copytree

import pytest
from huggingface_hub import constants

from nsfw_app.errors import ModelNotFound
from nsfw_app.models.cards import FALCONSAI, OPEN_NSFW
from nsfw_app.models.loader import (
    AUTO,
    Loaded,
    ModelLoader,
    ModelState,
    ModelStatus,
    load_classifier,
)
from tests.support.loopback_hub import ABSENT_URL, COMMIT, client_environment, serve
from tests.support.python_process import run_script
from tests.support.tiny_vit import trained

Connect = Callable[[str], None]


@pytest.fixture
def vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained model's directory."""
    return trained(tmp_path_factory)


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Connect:
    """Sets the URL of the hub for its client, with an empty cache and no token."""

    def connect(url: str) -> None:
        template = f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "ENDPOINT", url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return connect


def load(model: str, *, revision: str = "main") -> Loaded:
    """Load a model by a value of NSFW_MODEL."""
    return load_classifier(model, revision=revision, unsafe_labels=(), threads=1, max_waiting=64)


def ready(model: str) -> tuple[str, ModelStatus]:
    """Load a model; returns the id of the model that is ready, and the loader's status."""
    loader = ModelLoader(model, partial(load, model))
    classifier = loader.wait()
    assert loader.status.state is ModelState.READY
    assert loader.status.classifier is classifier
    return classifier.identity.model, loader.status


# auto


def test_auto_loads_falconsai_from_the_hub(connect: Connect, vit: Path) -> None:
    """With a hub, auto is Falconsai at the hub's commit, without a message."""
    with serve(vit) as hub:
        connect(hub.url)
        model, status = ready(AUTO)
    assert (model, status.wanted, status.message) == (FALCONSAI, AUTO, "")
    assert status.classifier.identity.revision == COMMIT


def test_auto_loads_falconsai_from_the_cache(connect: Connect, vit: Path) -> None:
    """A cached model is loaded without a request to the hub."""
    with serve(vit) as hub:
        connect(hub.url)
        load(FALCONSAI)
    with serve(vit) as hub:
        connect(hub.url)
        model, _ = ready(AUTO)
    assert model == FALCONSAI
    assert hub.requests == []


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (404, "does not have it"),
        (401, "requires a token"),
        (429, "status 429"),
        (503, "status 503"),
    ],
)
def test_auto_when_the_hub_refuses(
    connect: Connect, tmp_path: Path, status: int, reason: str
) -> None:
    """After one request, the reason has Falconsai and the hub's response."""
    with serve(tmp_path, statuses={"*": status}) as hub:
        connect(hub.url)
        model, end = ready(AUTO)
    assert model == OPEN_NSFW
    assert FALCONSAI in end.message
    assert reason in end.message
    assert len(hub.requests) == 1


@pytest.mark.parametrize("url", [ABSENT_URL, "hub.invalid", "http://", "http://127.0.0.1:1e3"])
def test_auto_without_a_hub(connect: Connect, url: str) -> None:
    """Without a hub, or with an invalid URL, the embedded model is ready within 2 s."""
    connect(url)
    load(OPEN_NSFW)  # so that its imports are not measured
    start = time.monotonic()
    model, status = ready(AUTO)
    assert time.monotonic() - start < 2
    assert model == OPEN_NSFW
    assert status.message.startswith(f"{FALCONSAI} is not on this machine, and ")


def test_auto_with_a_slow_hub(connect: Connect, tmp_path: Path) -> None:
    """One request gets 3 s; then the embedded model is loaded, with that reason."""
    with serve(tmp_path, delay_seconds=60) as hub:
        connect(hub.url)
        load(OPEN_NSFW)  # so that its imports are not measured
        start = time.monotonic()
        model, status = ready(AUTO)
        elapsed_seconds = time.monotonic() - start
    assert model == OPEN_NSFW
    assert "did not respond within 3 s" in status.message
    assert 2.9 < elapsed_seconds < 4.5
    assert len(hub.requests) == 1


def test_auto_offline(connect: Connect, vit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With HF_HUB_OFFLINE no request is sent, and the reason names it."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with serve(vit) as hub:
        connect(hub.url)
        model, status = ready(AUTO)
    assert model == OPEN_NSFW
    assert "HF_HUB_OFFLINE" in status.message
    assert hub.requests == []


def test_auto_after_a_partial_download(connect: Connect, vit: Path) -> None:
    """A cache without weights is not used; once the hub has them, the rest is downloaded."""
    with serve(vit, statuses={"model.safetensors": 404}) as hub:
        connect(hub.url)
        assert ready(AUTO)[0] == OPEN_NSFW
    assert list(Path(constants.HF_HUB_CACHE).rglob("config.json")), (
        "the cache must have a part of the model"
    )
    connect(ABSENT_URL)
    assert ready(AUTO)[0] == OPEN_NSFW
    with serve(vit) as hub:
        connect(hub.url)
        assert ready(AUTO)[0] == FALCONSAI


@pytest.mark.parametrize(
    ("name", "content"),
    [("model.safetensors", b"cut short"), ("config.json", b"{")],
    ids=["weights", "configuration"],
)
def test_auto_with_a_broken_model(
    connect: Connect, vit: Path, tmp_path: Path, name: str, content: bytes
) -> None:
    """A model of the hub that cannot be loaded is replaced, with a reason that names it."""
    directory = copytree(vit, tmp_path / "broken")
    (directory / name).write_bytes(content)
    with serve(directory) as hub:
        connect(hub.url)
        model, status = ready(AUTO)
    assert model == OPEN_NSFW
    assert FALCONSAI in status.message


def test_auto_with_unknown_labels(connect: Connect, vit: Path, tmp_path: Path) -> None:
    """The embedded model replaces one whose labels have no known role."""
    config = copytree(vit, tmp_path / "unknown-labels") / "config.json"
    config.write_text(config.read_text().replace("nsfw", "cat"))
    with serve(config.parent) as hub:
        connect(hub.url)
        model, status = ready(AUTO)
    assert model == OPEN_NSFW
    assert "'cat'" in status.message


def test_auto_with_a_dns_server_that_hangs(tmp_path: Path) -> None:
    """A DNS lookup that does not end costs 3 s, and does not keep a command from exiting."""
    script = """
import json, socket, threading
from nsfw_app.models.loader import load_classifier
socket.getaddrinfo = lambda *_, **__: threading.Event().wait(20)
loaded = load_classifier("auto", revision="main", unsafe_labels=(), threads=1, max_waiting=64)
print(json.dumps(loaded.fallback_reason))
"""
    start = time.monotonic()
    reason = run_script(script, **client_environment("http://hub.invalid", home=tmp_path))
    assert "did not respond within 3 s" in reason
    assert time.monotonic() - start < 15


# A model by name


@pytest.mark.parametrize("name", [FALCONSAI, "someone/something", "no hub id", "a/b/c"])
def test_a_name_never_falls_back(connect: Connect, name: str) -> None:
    """A model that is not available is an error that names it and says what to do."""
    connect(ABSENT_URL)
    with pytest.raises(ModelNotFound) as caught:
        load(name)
    assert f"'{name}'" in str(caught.value)
    assert "set NSFW_MODEL to a directory" in str(caught.value)


def test_an_unknown_revision(connect: Connect, vit: Path) -> None:
    """A revision that the hub does not have is an error that names it."""
    with serve(vit) as hub:
        connect(hub.url)
        with pytest.raises(ModelNotFound, match="revision v9"):
            load(FALCONSAI, revision="v9")


def test_another_name_and_revision(connect: Connect, vit: Path) -> None:
    """Any hub model loads by its name and commit, and keeps both."""
    with serve(vit) as hub:
        connect(hub.url)
        identity = load("someone/something", revision=COMMIT).classifier.identity
    assert (identity.model, identity.revision) == ("someone/something", COMMIT)


def test_the_embedded_model_by_name_sends_no_request(connect: Connect, vit: Path) -> None:
    """Open-NSFW by name needs no hub and has no message."""
    with serve(vit) as hub:
        connect(hub.url)
        model, status = ready(OPEN_NSFW)
    assert (model, status.message) == (OPEN_NSFW, "")
    assert hub.requests == []
