"""Files with a wrong extension: the content decides the format, on every entry point.

Routes, Gradio endpoints and commands share the engine, but each reads names and bytes itself.
"""

import base64
import importlib
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio_client import Client, handle_file

from nsfw_app.cli import main
from nsfw_app.records import Retain, Upload
from nsfw_app.review.engine import Engine
from nsfw_app.review.image_json import review_json
from nsfw_app.rules.permissions import KEY_SCOPES
from nsfw_app.store import Store
from tests.support.application import open_app, served
from tests.support.fakes import image_bytes

WRONG = [
    ("JPEG", "a.png", "a.jpg"),
    ("JPEG", "a.HEIC", "a.JPEG"),
    ("PNG", "a.jpeg", "a.png"),
    ("WEBP", "a.pdf", "a.webp"),
    ("GIF", "a.html", "a"),
]
Found = dict[str, Any]


@dataclass(frozen=True)
class EntryPoints:
    """A served application, a client with an API key, and fixtures for the commands."""

    program: httpx.Client
    folder: Path
    capsys: pytest.CaptureFixture[str]
    patch: pytest.MonkeyPatch
    engine: Engine


@pytest.fixture
def entries(
    engine: Engine,
    store: Store,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[EntryPoints]:
    """All entry points share one engine with a fake model."""
    with open_app(engine, store, tmp_path) as web_app, served(web_app.client.app) as url:
        key = web_app.accounts.add_key("names", KEY_SCOPES, per_minute=100_000, actor="test").key
        headers = {"Authorization": f"Bearer {key}"}
        cookies = dict(web_app.signed_in("ann").cookies)
        with httpx.Client(base_url=url, headers=headers, cookies=cookies) as program:
            yield EntryPoints(program, tmp_path, capsys, monkeypatch, engine)


def page(entries: EntryPoints, name: str, image: bytes) -> Found:
    """`POST /desk/images` of the page, signed in as a reviewer."""
    query = {"name": name, "source": "review"}
    with httpx.Client(
        base_url=entries.program.base_url, cookies=entries.program.cookies
    ) as browser:
        return browser.post("/desk/images", params=query, content=image).json()


def visitor(entries: EntryPoints, name: str, image: bytes) -> Found:
    """`Engine.review`, for an anonymous visitor of a Space, of whose image nothing is kept."""
    upload = Upload(name, "review", retain=Retain.NOTHING)
    return review_json(entries.engine.review(image, upload))


def images(entries: EntryPoints, name: str, image: bytes) -> Found:
    """`/v1/images`."""
    return entries.program.post("/v1/images", files={"file": (name, image)}).json()["images"][0]


def gate(entries: EntryPoints, name: str, image: bytes) -> Found:
    """`/v1/gate` with the bytes as its body. The images are to review, so there is a JSON body."""
    response = entries.program.post("/v1/gate", params={"name": name}, content=image)
    body = response.json()
    assert response.headers.get("nsfw-warnings", "") == ",".join(codes(body))
    return body


def gate_form(entries: EntryPoints, name: str, image: bytes) -> Found:
    """`/v1/gate` with a form."""
    return entries.program.post("/v1/gate", files={"file": (name, image)}).json()


def endpoint(entries: EntryPoints, name: str, image: bytes) -> Found:
    """`/classify` with gradio_client."""
    headers = {"Authorization": entries.program.headers["authorization"]}
    client = Client(str(entries.program.base_url), headers=headers, verbose=False)
    return client.predict(handle_file(write(entries, name, image)), api_name="/classify")


def classify(entries: EntryPoints, name: str, image: bytes) -> Found:
    """The command `classify`."""
    path = write(entries, name, image)
    command = importlib.import_module("nsfw_app.cli.classify")  # its function has the same name
    entries.patch.setattr(command, "open_engine", lambda settings, store: entries.engine)
    entries.patch.setenv("NSFW_DATA_DIR", str(entries.folder / "data"))
    entries.patch.setattr(sys, "argv", ["nsfw_app", "classify", "--jsonl", str(path)])
    with pytest.raises(SystemExit):
        main()
    found = json.loads(entries.capsys.readouterr().out)
    assert Path(found["name"]).name == name
    return {**found, "name": name}


def write(entries: EntryPoints, name: str, image: bytes) -> Path:
    """Write the image to a file of this name."""
    path = entries.folder / "files" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(image)
    return path


def codes(found: Found) -> list[str]:
    """The codes of an image's warnings."""
    return [warning["code"] for warning in found["warnings"]]


NAMED: list[Callable[[EntryPoints, str, bytes], Found]] = [
    page, visitor, images, gate, gate_form, endpoint, classify,
]  # fmt: skip


@pytest.mark.parametrize(("image_format", "wrong", "right"), WRONG)
def test_a_wrong_extension_is_a_warning_everywhere(
    entries: EntryPoints, image_format: str, wrong: str, right: str
) -> None:
    """Every entry point that gets the name gives the same result as with the correct extension."""
    for number, send in enumerate(NAMED):  # different bytes, so that nothing is cached
        image = image_bytes(150, size=(40, 30 + number), image_format=image_format)
        found, correct = send(entries, wrong, image), send(entries, right, image)
        assert codes(found) == ["extension"], send.__name__
        assert codes(correct) == [], send.__name__
        assert (found["name"], correct["name"]) == (wrong, right)
        assert (found["action"], found["format"]) == ("review", image_format)
        same = found.keys() - {"name", "warnings", "id"}
        assert {key: found[key] for key in same} == {key: correct[key] for key in same}


def test_routes_without_names_have_no_warning(entries: EntryPoints) -> None:
    """OpenAI's and Hugging Face's requests have no name; a wrong media type is ignored."""
    image = image_bytes(150)
    encoded = base64.b64encode(image).decode()
    part = {"type": "image_url", "image_url": {"url": f"data:image/webp;base64,{encoded}"}}
    moderated = entries.program.post("/v1/moderations", json={"input": [part]}).json()
    assert moderated["results"][0]["category_scores"]["sexual"] == pytest.approx(150 / 255)
    for media_type in ("image/jpeg", "application/pdf", "text/html"):
        headers = {"content-type": media_type}
        sent = entries.program.post("/v1/image-classification", content=image, headers=headers)
        assert sent.json()[0] == {"label": "nsfw", "score": pytest.approx(150 / 255)}
