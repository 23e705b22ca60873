"""Files with a wrong extension: the content decides, with one result, whatever the way in.

Routes, endpoints and commands share the engine, but each reads names and bytes in its own way.
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
from nsfw_app.review.engine import Engine
from nsfw_app.review.exports import review_json
from nsfw_app.rules.permissions import KEY_SCOPES
from nsfw_app.store import Store
from tests.support.application import open_app, served
from tests.support.fakes import picture_bytes

WRONG = [
    ("JPEG", "a.png", "a.jpg"),
    ("JPEG", "a.HEIC", "a.JPEG"),
    ("PNG", "a.jpeg", "a.png"),
    ("WEBP", "a.pdf", "a.webp"),
    ("GIF", "a.html", "a"),
]
Found = dict[str, Any]


@dataclass(frozen=True)
class Doors:
    """A served application, a program with a key for it, and what the commands use."""

    program: httpx.Client
    folder: Path
    capsys: pytest.CaptureFixture[str]
    patch: pytest.MonkeyPatch
    engine: Engine


@pytest.fixture
def doors(
    engine: Engine,
    store: Store,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Doors]:
    """One engine with a fake model behind all of them."""
    with open_app(engine, store, tmp_path) as web_app, served(web_app.client.app) as url:
        made = web_app.accounts.add_key("names", KEY_SCOPES, per_minute=100_000, actor="test")
        headers = {"Authorization": f"Bearer {made.key}"}
        cookies = dict(web_app.signed_in("ann").cookies)
        with httpx.Client(base_url=url, headers=headers, cookies=cookies) as program:
            yield Doors(program, tmp_path, capsys, monkeypatch, engine)


def page(doors: Doors, name: str, image: bytes) -> Found:
    """The route of the page's scripts, for a reviewer who has signed in."""
    where = {"name": name, "source": "review"}
    with httpx.Client(base_url=doors.program.base_url, cookies=doors.program.cookies) as browser:
        return browser.post("/desk/images", params=where, content=image).json()


def visitor(doors: Doors, name: str, image: bytes) -> Found:
    """What a Space's visitor is shown, of whose image nothing is kept."""
    return review_json(doors.engine.try_out(image, name=name))


def images(doors: Doors, name: str, image: bytes) -> Found:
    """`/v1/images`."""
    return doors.program.post("/v1/images", files={"file": (name, image)}).json()["images"][0]


def gate(doors: Doors, name: str, image: bytes) -> Found:
    """`/v1/gate` with the bytes as its body. What it judges here is to review, so it has a body."""
    response = doors.program.post("/v1/gate", params={"name": name}, content=image)
    body = response.json()
    assert response.headers.get("nsfw-warnings", "") == ",".join(codes(body))
    return body


def gate_form(doors: Doors, name: str, image: bytes) -> Found:
    """`/v1/gate` with a form."""
    return doors.program.post("/v1/gate", files={"file": (name, image)}).json()


def endpoint(doors: Doors, name: str, image: bytes) -> Found:
    """`/classify` by gradio_client."""
    headers = {"Authorization": doors.program.headers["authorization"]}
    client = Client(str(doors.program.base_url), headers=headers, verbose=False)
    return client.predict(handle_file(written(doors, name, image)), api_name="/classify")


def classify(doors: Doors, name: str, image: bytes) -> Found:
    """The command."""
    path = written(doors, name, image)
    command = importlib.import_module("nsfw_app.cli.classify")  # its function has the same name
    doors.patch.setattr(command, "open_engine", lambda settings, store: doors.engine)
    doors.patch.setenv("NSFW_DATA_DIR", str(doors.folder / "data"))
    doors.patch.setattr(sys, "argv", ["nsfw_app", "classify", "--jsonl", str(path)])
    with pytest.raises(SystemExit):
        main()
    found = json.loads(doors.capsys.readouterr().out)
    assert Path(found["name"]).name == name
    return {**found, "name": name}


def written(doors: Doors, name: str, image: bytes) -> Path:
    """The image as a file of this name."""
    path = doors.folder / "files" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(image)
    return path


def codes(found: Found) -> list[str]:
    """The codes of an image's warnings."""
    return [warning["code"] for warning in found["warnings"]]


NAMED: list[Callable[[Doors, str, bytes], Found]] = [
    page, visitor, images, gate, gate_form, endpoint, classify,
]  # fmt: skip


@pytest.mark.parametrize(("image_format", "wrong", "right"), WRONG)
def test_a_wrong_name_is_a_warning_everywhere(
    doors: Doors, image_format: str, wrong: str, right: str
) -> None:
    """Every way in that knows the name gives the same result as under a right one, and says so."""
    for number, send in enumerate(NAMED):  # other bytes each, so that each is judged anew
        image = picture_bytes(150, size=(40, 30 + number), image_format=image_format)
        found, honest = send(doors, wrong, image), send(doors, right, image)
        assert codes(found) == ["extension"], send.__name__
        assert codes(honest) == [], send.__name__
        assert (found["name"], honest["name"]) == (wrong, right)
        assert (found["action"], found["format"]) == ("review", image_format)
        same = found.keys() - {"name", "warnings", "id"}
        assert {key: found[key] for key in same} == {key: honest[key] for key in same}


def test_routes_without_names_have_nothing_to_warn_of(doors: Doors) -> None:
    """OpenAI's and Hugging Face's requests carry no name; a wrong media type is no matter."""
    image = picture_bytes(150)
    encoded = base64.b64encode(image).decode()
    part = {"type": "image_url", "image_url": {"url": f"data:image/webp;base64,{encoded}"}}
    moderated = doors.program.post("/v1/moderations", json={"input": [part]}).json()
    assert moderated["results"][0]["category_scores"]["sexual"] == pytest.approx(150 / 255)
    for media_type in ("image/jpeg", "application/pdf", "text/html"):
        headers = {"content-type": media_type}
        sent = doors.program.post("/v1/image-classification", content=image, headers=headers)
        assert sent.json()[0] == {"label": "nsfw", "score": pytest.approx(150 / 255)}
