"""Explanations over HTTP: the page's routes, and `POST /v1/explain` as JSON and as a PNG."""

import io
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from nsfw_app.models.classifier import Box
from nsfw_app.models.loader import Loaded, ModelLoader
from nsfw_app.review.engine import Engine
from nsfw_app.review.policies import PolicyBook
from nsfw_app.rules.permissions import Permission
from nsfw_app.store import Store
from nsfw_app.web.api import explanations
from tests.support.application import WebApp, open_app
from tests.support.fakes import LIMITS, ExplainableClassifier, corner_image

TIMEOUT_S = 10
KEYS = """method rows columns values informative sentence score score_covered marked faithfulness
    model revision backend frame seconds scored""".split()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The store of the application."""
    folder = tmp_path_factory.mktemp("explanations")
    return Store(folder / "review.db", previews_dir=folder / "images", journal_mode="wal")


@pytest.fixture(scope="module")
def web_app(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebApp]:
    """The application with users and a model that can be explained."""
    loader = ModelLoader("fake", lambda: Loaded(ExplainableClassifier()))
    loader.wait()
    engine = Engine(store=store, loader=loader, limits=LIMITS, policies=PolicyBook(store.policies))
    with open_app(engine, store, tmp_path_factory.mktemp("data")) as opened:
        yield opened


@pytest.fixture
def ann(web_app: WebApp) -> TestClient:
    """A reviewer."""
    return web_app.signed_in("ann")


def upload(client: TestClient, red: int) -> dict[str, Any]:
    """Classify an image on the page; returns its card."""
    sent = {"name": "a.png", "source": "review"}
    response = client.post("/desk/images", params=sent, content=corner_image(red))
    assert response.status_code == 200, response.text
    card: dict[str, Any] = response.json()
    return card


def names_of(card: dict[str, Any]) -> dict[str, str]:
    """The model of a card's prediction."""
    return {key: card[key] for key in ("model", "revision", "backend")}


def finished(client: TestClient, status: dict[str, Any]) -> dict[str, Any]:
    """The status when the explanation has ended, polled as the page does."""
    end = time.monotonic() + TIMEOUT_S
    while status["status"] == "running":
        assert 0 <= status["progress"] < 1
        assert time.monotonic() < end
        status = client.get(f"/desk/explanations/{status['id']}").json()
    return status


def test_the_page_requests_and_polls(ann: TestClient) -> None:
    """Keys and values are those that the page draws; the second time it is there at once."""
    card = upload(ann, 255)
    url = f"/desk/images/{card['sha256']}/explanation"
    status = finished(ann, ann.post(url, json=names_of(card)).json())
    assert list(status) == ["status", "progress", "id", "explanation", "error"]
    assert (status["status"], status["progress"], status["error"]) == ("done", 1.0, None)
    explanation = status["explanation"]
    assert list(explanation) == KEYS
    assert (explanation["rows"], explanation["columns"]) == (7, 7)
    assert explanation["informative"]
    assert [len(row) for row in explanation["values"]] == [7] * 7
    assert max(value for row in explanation["values"] for value in row) == 1.0
    assert explanation["marked"][0][0]
    assert explanation["sentence"].startswith("Covering the marked area lowers the score from")
    again = ann.post(url, json=names_of(card)).json()
    assert (again["status"], again["explanation"]) == ("done", explanation)


def test_an_explanation_is_cancelled(ann: TestClient) -> None:
    """A request that has ended stays what it is."""
    card = upload(ann, 254)
    url = f"/desk/images/{card['sha256']}/explanation"
    status = finished(ann, ann.post(url, json=names_of(card)).json())
    cancelled = ann.delete(f"/desk/explanations/{status['id']}")
    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "done")
    assert ann.delete("/desk/explanations/none").status_code == 404


def test_another_user_gets_nothing(web_app: WebApp, ann: TestClient) -> None:
    """Not by the image, and not by the id of the request."""
    card = upload(ann, 253)
    url = f"/desk/images/{card['sha256']}/explanation"
    status = ann.post(url, json=names_of(card)).json()
    for name in ("vera", "bob"):
        other = web_app.signed_in(name)
        assert other.post(url, json=names_of(card)).status_code == 404
        assert other.get(f"/desk/explanations/{status['id']}").status_code == 404
        assert other.delete(f"/desk/explanations/{status['id']}").status_code == 404
    assert finished(ann, status)["status"] == "done"


def test_the_file_is_sent_where_no_preview_is_kept(store: Store, ann: TestClient) -> None:
    """The error says so; the file must be that of the image."""
    card = upload(ann, 252)
    store.purges.purge(card["sha256"], actor="root")
    url = f"/desk/images/{card['sha256']}/explanation"
    refused = ann.post(url, json=names_of(card))
    assert (refused.status_code, refused.json()["error"]["kind"]) == (409, "no_pixels")
    query = {**names_of(card), "name": "a.png"}
    other = ann.post(url, params=query, content=corner_image(1))
    assert (other.status_code, other.json()["error"]["kind"]) == (400, "request")
    status = finished(ann, ann.post(url, params=query, content=corner_image(252)).json())
    assert status["explanation"]["informative"]


def test_a_wrong_request_is_refused(ann: TestClient) -> None:
    """An unknown image, a model without prediction, a body that is no JSON."""
    card = upload(ann, 251)
    names = names_of(card)
    unknown = f"/desk/images/{'0' * 64}/explanation"
    assert ann.post(unknown, json=names).status_code == 404
    url = f"/desk/images/{card['sha256']}/explanation"
    assert ann.post(url, json={**names, "model": "other"}).status_code == 404
    headers = {"content-type": "application/json"}
    assert ann.post(url, content=b"{", headers=headers).status_code == 400


@pytest.mark.parametrize("as_form", [False, True])
def test_a_program_gets_json(web_app: WebApp, *, as_form: bool) -> None:
    """The bytes as the body, or a form; nothing but the score is stored."""
    client, data = web_app.with_key(Permission.CLASSIFY), corner_image(240)
    body: dict[str, Any] = (
        {"files": {"file": ("a.png", data, "image/png")}} if as_form else {"content": data}
    )
    response = client.post("/v1/explain", **body)
    assert response.status_code == 200, response.text
    assert list(response.json()) == KEYS
    assert response.json()["informative"]


def test_a_program_gets_a_png(web_app: WebApp) -> None:
    """Over the blurred image; over the image itself on request."""
    client, data = web_app.with_key(Permission.CLASSIFY), corner_image(239)
    headers = {"accept": "image/png"}
    sent = [
        client.post("/v1/explain", params={"reveal": reveal}, content=data, headers=headers)
        for reveal in (False, True)
    ]
    assert [response.headers["content-type"] for response in sent] == ["image/png"] * 2
    drawn = [Image.open(io.BytesIO(response.content)).convert("RGB") for response in sent]
    assert drawn[0].size == drawn[1].size
    assert drawn[0].tobytes() != drawn[1].tobytes()


def test_a_request_that_gets_no_turn_ends(web_app: WebApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says when to try again; what it started is cancelled."""
    released = threading.Event()

    def wait(*_: object) -> Box:
        assert released.wait(TIMEOUT_S)
        return 0.0, 0.0, 1.0, 1.0

    monkeypatch.setattr(explanations, "STALLED_S", 0.1)
    monkeypatch.setattr(ExplainableClassifier, "visible_box", wait)
    client = web_app.with_key(Permission.CLASSIFY)
    response = client.post("/v1/explain", content=corner_image(238))
    released.set()
    assert (response.status_code, response.json()["error"]["kind"]) == (503, "overloaded")
    assert int(response.headers["retry-after"]) > 0


def test_what_cannot_be_classified_has_no_explanation(web_app: WebApp) -> None:
    """The errors are those of the other routes."""
    client = web_app.with_key(Permission.CLASSIFY)
    statuses = [
        client.post("/v1/explain", content=content).status_code
        for content in (b"no image", b"", corner_image()[:60])
    ]
    assert statuses == [415, 400, 400]
    files = [("file", ("a.png", corner_image(), "image/png"))] * 2
    assert client.post("/v1/explain", files=files).status_code == 400
    assert web_app.with_key(Permission.EXPORT).post("/v1/explain").status_code == 403
