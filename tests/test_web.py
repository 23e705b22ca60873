"""The shell around the page: who may write, who may see, what is closed."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import picture_bytes
from fastapi.testclient import TestClient

from nsfw_app import settings
from nsfw_app.engine import Engine
from nsfw_app.ui import build_ui
from nsfw_app.web.app import create_app

SHARED = "http://0.0.0.0:7860"


def client_of(engine: Engine, tmp_path: Path, *, host: str, space_id: str = "") -> TestClient:
    """A client of the application served at an address."""
    chosen = settings.load(host=host, data_dir=tmp_path, SPACE_ID=space_id, max_file_mb=0.1)
    app = create_app(engine, settings=chosen, page=build_ui(engine))
    return TestClient(app, base_url="https://review.test" if space_id else f"http://{host}")


@pytest.fixture
def local(engine: Engine, tmp_path: Path) -> Iterator[TestClient]:
    """The application as this machine's own."""
    with client_of(engine, tmp_path, host="127.0.0.1") as client:
        yield client


@pytest.fixture
def alice(engine: Engine, tmp_path: Path) -> Iterator[TestClient]:
    """One browser at an application that is open to others."""
    with client_of(engine, tmp_path, host="0.0.0.0") as client:
        yield client


def stranger_to(client: TestClient) -> TestClient:
    """Another browser at the same application."""
    return TestClient(client.app, base_url=str(client.base_url))


def add(client: TestClient, red: int = 200, name: str = "a.png") -> dict:
    """Have a plain picture judged; its card."""
    answer = client.post(
        "/desk/images", params={"name": name, "source": "test"}, content=picture_bytes(red)
    )
    assert answer.status_code == 200
    return answer.json()


def answer_to(card: dict, **changes: object) -> dict:
    """An answer about a card, as the page would send it."""
    keys = ("model", "revision", "backend")
    body = {"image_sha256": card["sha256"], "label": "nsfw", "threshold": 0.5, "nonce": "n1"}
    return {**body, **{key: card[key] for key in keys}, **changes}


def test_an_image_is_judged_answered_and_undone(local: TestClient) -> None:
    """The desk's routes carry one review from bytes to an undone decision."""
    card = add(local)
    assert (card["label"], card["action"]) == ("nsfw", "review")
    assert card["nsfw_score"] == pytest.approx(200 / 255)
    first = local.post("/desk/decisions", json=answer_to(card)).json()
    again = local.post("/desk/decisions", json=answer_to(card)).json()
    assert first == again
    assert add(local)["decision"] == first
    undo = local.post(f"/desk/decisions/{first['decision_id']}/undo", json={"nonce": "n2"})
    assert undo.json() == {"standing": None}
    assert add(local)["decision"] is None


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
def test_an_answer_that_makes_no_sense_is_refused(
    local: TestClient, changes: dict, status: int
) -> None:
    """Each wrong field is refused with a reason, and nothing is recorded."""
    card = add(local)
    response = local.post("/desk/decisions", json=answer_to(card, **changes))
    assert response.status_code == status
    assert local.get("/desk/log.jsonl").text == ""


def test_a_file_over_the_limit_is_unavailable(local: TestClient) -> None:
    """An upload past the limit is cut off and answered like any file that cannot be judged."""
    response = local.post(
        "/desk/images", params={"name": "big.png", "source": "test"}, content=b"x" * 200_000_00
    )
    card = response.json()
    assert (card["action"], card["error"]["kind"]) == ("unavailable", "too_large")


def test_pictures_are_only_their_owners(alice: TestClient) -> None:
    """Another browser gets neither picture, thumbnail nor a decision about an upload."""
    card = add(alice)
    bob = stranger_to(alice)
    for kind in ("picture", "thumbnail"):
        url = f"/desk/images/{card['sha256']}/{kind}"
        mine = alice.get(url)
        assert (mine.status_code, mine.headers["content-type"]) == (200, "image/jpeg")
        assert "no-store" in mine.headers["cache-control"]
        assert bob.get(url).status_code == 404
    assert bob.post("/desk/decisions", json=answer_to(card)).status_code == 404


def test_the_log_of_others_is_not_seen_or_undone(alice: TestClient) -> None:
    """Where there is no login, a browser sees its own answers only."""
    decision = alice.post("/desk/decisions", json=answer_to(add(alice))).json()
    bob = stranger_to(alice)
    assert bob.get("/desk/log.csv", params={"reviewer": decision["reviewer"]}).text.count("\n") == 1
    undo = bob.post(f"/desk/decisions/{decision['decision_id']}/undo", json={"nonce": "n9"})
    assert undo.status_code == 404
    assert alice.get("/desk/log.jsonl").text.count("\n") == 1


def test_a_browsers_secret_is_kept_from_scripts_and_from_disk(
    alice: TestClient, tmp_path: Path
) -> None:
    """The cookie is HttpOnly, and what the database knows cannot be used as one."""
    response = alice.get("/desk/status")
    assert "HttpOnly" in response.headers["set-cookie"]
    secret = alice.cookies["nsfw_review"]
    alice.post("/desk/decisions", json=answer_to(add(alice)))
    assert secret.encode() not in (tmp_path / "review.db").read_bytes()


def test_a_spaces_cookie_survives_in_its_frame(engine: Engine, tmp_path: Path) -> None:
    """On a Space the page is inside another site's, so the cookie is partitioned and secure."""
    with client_of(engine, tmp_path, host="0.0.0.0", space_id="me/review") as client:
        cookie = client.get("/desk/status").headers["set-cookie"]
    assert all(word in cookie for word in ("SameSite=None", "Secure", "Partitioned", "HttpOnly"))


@pytest.mark.parametrize("path", ["/desk/images", "/desk/decisions", "/gradio_api/upload"])
def test_writes_from_other_sites_are_refused(local: TestClient, path: str) -> None:
    """A page of another origin cannot make a browser write here."""
    response = local.post(path, headers={"origin": "http://elsewhere.test"})
    assert response.status_code == 403
    same = local.post(path, headers={"origin": "http://127.0.0.1"})
    assert same.status_code == 422 or same.status_code == 400


@pytest.mark.parametrize("host", ["elsewhere.test", "127.0.0.1.elsewhere.test"])
def test_another_name_for_this_machine_is_refused(local: TestClient, host: str) -> None:
    """A foreign name pointed at the local address gets nothing."""
    assert local.get("/desk/status", headers={"host": host}).status_code == 400


def test_gradio_serves_no_files(local: TestClient, tmp_path: Path) -> None:
    """Neither uploads nor anything else on the disk can be asked for by path."""
    upload = local.post(
        "/gradio_api/upload", files={"files": ("a.png", picture_bytes(10), "image/png")}
    )
    (path,) = upload.json()
    database = tmp_path / "review.db"
    for prefix in ("/gradio_api/file=", "/gradio_api/file/", "/file=", "/gradio_api/proxy="):
        for target in (path, str(database)):
            assert local.get(f"{prefix}{target}").status_code == 404


def test_types_are_never_guessed(local: TestClient) -> None:
    """Every answer forbids sniffing, the page's own scripts included."""
    for path in ("/", "/desk/status", "/desk/assets/grid.js", "/desk/assets/gallery.js"):
        assert local.get(path).headers["x-content-type-options"] == "nosniff"
