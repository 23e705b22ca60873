"""The web application: permissions, ownership, closed routes, response headers."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from nsfw_app.review.engine import Engine
from nsfw_app.store import Store
from tests.support.application import WebApp, add, answer_to, open_app
from tests.support.fakes import image_bytes


@pytest.fixture
def local(engine: Engine, store: Store, tmp_path: Path) -> Iterator[TestClient]:
    """The application without users."""
    with open_app(engine, store, tmp_path, roles={}) as app:
        yield app.client


@pytest.fixture
def app(engine: Engine, store: Store, tmp_path: Path) -> Iterator[WebApp]:
    """The application with users."""
    with open_app(engine, store, tmp_path) as app:
        yield app


def test_an_image_is_classified_decided_undone(local: TestClient) -> None:
    """An image is classified, decided and undone through the routes of the page."""
    card = add(local)
    assert (card["label"], card["action"]) == ("nsfw", "review")
    assert card["nsfw_score"] == pytest.approx(200 / 255)
    first = local.post("/desk/decisions", json=answer_to(card)).json()
    again = local.post("/desk/decisions", json=answer_to(card)).json()
    assert first == again
    assert first.pop("kept") is True  # for the grace period after the decision
    assert add(local)["decision"] == first
    undo = local.post(f"/desk/decisions/{first['decision_id']}/undo", json={"nonce": "n2"})
    assert undo.json() == {"standing": None, "kept": True}
    assert add(local)["decision"] is None


@pytest.mark.parametrize(
    ("path", "has_mark"),
    [
        ("/desk/log.csv", True),
        ("/desk/log.jsonl", False),
        ("/v1/corrections?all=true&format=csv&bom=true", True),
        ("/v1/corrections?all=true&format=csv", False),
        ("/v1/corrections?all=true", False),
    ],
)
def test_csv_for_spreadsheets_has_a_byte_order_mark(
    local: TestClient, path: str, has_mark: bool
) -> None:
    """The page's CSV and CSV requested with a BOM begin with one; other CSV does not."""
    card = add(local, name="日本.png")
    assert local.post("/desk/decisions", json=answer_to(card)).status_code == 200
    log = local.get(path).content
    assert log.startswith(b"\xef\xbb\xbf") is has_mark
    read = log.decode("utf-8-sig")
    assert ("日本" in read) is ("csv" in path)
    assert "\ufeff" not in read


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"threshold": 1.5}, 400),
        ({"label": "maybe"}, 422),
        ({"reasons": ["weather"]}, 422),
        ({"nonce": ""}, 400),
        ({"note": "x" * 4001}, 400),
        ({"revision": "another"}, 404),
        ({"image_sha256": "0" * 64}, 404),
    ],
)
def test_an_invalid_decision_is_rejected(local: TestClient, changes: dict, status: int) -> None:
    """Each invalid field is rejected with a message, and nothing is recorded."""
    card = add(local)
    response = local.post("/desk/decisions", json=answer_to(card, **changes))
    assert response.status_code == status
    assert local.get("/desk/log.jsonl").text == ""


def test_a_file_over_the_limit_is_unavailable(local: TestClient) -> None:
    """An upload over the limit is reported like any file that cannot be classified."""
    response = local.post(
        "/desk/images", params={"name": "big.png", "source": "test"}, content=b"x" * 200_000_00
    )
    card = response.json()
    assert (card["action"], card["error"]["kind"]) == ("unavailable", "too_large")


def test_previews_belong_to_their_owner(app: WebApp) -> None:
    """Other callers get neither preview nor thumbnail, and cannot decide; an admin can."""
    ann, bob, root = (app.signed_in(name) for name in ("ann", "bob", "root"))
    card = add(ann, red=250)  # outside the review band, so not queued
    for kind in ("picture", "thumbnail"):
        url = f"/desk/images/{card['sha256']}/{kind}"
        mine = ann.get(url)
        assert (mine.status_code, mine.headers["content-type"]) == (200, "image/jpeg")
        assert "no-store" in mine.headers["cache-control"]
        assert (bob.get(url).status_code, root.get(url).status_code) == (404, 200)
    assert bob.post("/desk/decisions", json=answer_to(card)).status_code == 404


def test_a_queued_image_is_visible_to_reviewers(app: WebApp) -> None:
    """A queued image can be seen and decided by reviewers, not by viewers."""
    card = add(app.signed_in("root"), red=200)
    url = f"/desk/images/{card['sha256']}/picture"
    bob = app.signed_in("bob")
    assert bob.get(url).status_code == 200
    assert app.signed_in("vera").get(url).status_code == 404
    assert bob.post("/desk/decisions", json=answer_to(card)).status_code == 200
    assert app.signed_in("ann").get(url).status_code == 404  # settled: no longer in her queue


def test_decisions_of_others_cannot_be_undone(app: WebApp) -> None:
    """A decision can be undone by its reviewer only."""
    ann, bob = app.signed_in("ann"), app.signed_in("bob")
    decision = ann.post("/desk/decisions", json=answer_to(add(ann))).json()
    undo = f"/desk/decisions/{decision['decision_id']}/undo"
    assert bob.post(undo, json={"nonce": "n9"}).status_code == 404
    assert ann.post(undo, json={"nonce": "n9"}).status_code == 200


@pytest.mark.parametrize("path", ["/desk/images", "/desk/decisions", "/gradio_api/upload"])
def test_cross_site_writes_are_rejected(local: TestClient, path: str) -> None:
    """Writes from pages of other origins are rejected."""
    response = local.post(path, headers={"origin": "http://elsewhere.test"})
    assert response.status_code == 403
    same = local.post(path, headers={"origin": "http://127.0.0.1"})
    assert same.status_code in {400, 422}


@pytest.mark.parametrize("host", ["elsewhere.test", "127.0.0.1.elsewhere.test"])
def test_another_host_name_is_rejected(local: TestClient, host: str) -> None:
    """Requests for another host name are rejected (DNS rebinding)."""
    assert local.get("/desk/status", headers={"host": host}).status_code == 400


def test_gradio_serves_no_files(local: TestClient, tmp_path: Path) -> None:
    """Neither uploads nor other files can be requested by path."""
    upload = local.post(
        "/gradio_api/upload", files={"files": ("a.png", image_bytes(10), "image/png")}
    )
    (path,) = upload.json()
    database = tmp_path / "review.db"
    for prefix in ("/gradio_api/file=", "/gradio_api/file/", "/file=", "/gradio_api/proxy="):
        for target in (path, str(database)):
            assert local.get(f"{prefix}{target}").status_code in {400, 404}


def test_previews_support_head(local: TestClient) -> None:
    """HEAD has the status and headers of GET, and no body."""
    card = add(local, red=250)
    for kind in ("picture", "thumbnail"):
        url = f"/desk/images/{card['sha256']}/{kind}"
        shown, head = local.get(url), local.head(url)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == shown.headers["content-length"]
        assert local.head(url.replace(card["sha256"], "0" * 64)).status_code == 404


def test_other_sites_cannot_embed_anything(local: TestClient) -> None:
    """Every response, errors included, has Cross-Origin-Resource-Policy: same-origin."""
    card = add(local, red=250)
    image = f"/desk/images/{card['sha256']}/picture"
    for path in (
        "/",
        image,
        "/desk/status",
        "/desk/assets/shared/dom.js",
        "/v1/x",
        "/desk/x;y",
    ):
        policy = local.get(path).headers["cross-origin-resource-policy"]
        assert policy == "same-origin", path


def test_content_sniffing_is_disabled(local: TestClient) -> None:
    """Every response has X-Content-Type-Options: nosniff."""
    for path in ("/", "/desk/status", "/desk/assets/shared/dom.js", "/desk/assets/log/log.js"):
        assert local.get(path).headers["x-content-type-options"] == "nosniff"
