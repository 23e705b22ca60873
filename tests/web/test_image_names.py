"""Image names: uploading the same bytes does not rename an image for others."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlite_utils import Database

from nsfw_app.review.engine import Engine
from nsfw_app.rules.permissions import Permission
from nsfw_app.store import Store
from nsfw_app.store.migrations import migrations
from tests.support.application import WebApp, add, answer_to, open_app
from tests.support.fakes import image_bytes

WAITING = 150  # a score in the review band


@pytest.fixture
def app(engine: Engine, store: Store, tmp_path: Path) -> Iterator[WebApp]:
    """The application with users."""
    with open_app(engine, store, tmp_path) as app:
        yield app


def submit(program: TestClient, name: str) -> str:
    """Submit the image under a name; returns the id of the submission."""
    files = {"file": (name, image_bytes(WAITING), "image/png")}
    response = program.post("/v1/images?queue=true", files=files)
    return str(response.json()["images"][0]["id"])


def claimed(client: TestClient) -> dict[str, Any]:
    """Claim the image from the queue and release it; returns its card."""
    (card,) = client.post("/desk/queue/claim", json={"count": 1}).json()["items"]
    client.post("/desk/queue/release", json={"entries": [card["entry_id"]]})
    return dict(card)


def logged(client: TestClient, card: dict[str, Any], **changes: object) -> str:
    """Record and undo a decision about the image; returns the name in the log."""
    decided = client.post("/desk/decisions", json=answer_to(card, **changes)).json()
    undone = client.post(
        f"/desk/decisions/{decided['decision_id']}/undo", json={"nonce": f"u{changes['nonce']}"}
    )
    assert undone.status_code == 200
    return str(decided["name"])


@pytest.mark.parametrize("uploader", ["vera", "bob"])
def test_a_later_upload_renames_nothing(app: WebApp, uploader: str) -> None:
    """Not in the queue, in the log, or for the program that submitted the image."""
    program = app.with_key(Permission.QUEUE, Permission.CLASSIFY)
    submission = submit(program, "given.png")
    renamed = add(app.signed_in(uploader), WAITING, "renamed.png")
    ann = app.signed_in("ann")
    card = claimed(ann)
    assert (renamed["name"], card["name"]) == ("renamed.png", "given.png")
    for number, name in enumerate(("given.png", "", "renamed.png")):
        assert logged(ann, card, nonce=f"n{number}", name=name) == "given.png"
    assert logged(app.signed_in("root"), card, nonce="root") == "given.png"
    status = program.get(f"/v1/images/{submission}").json()
    assert status["image"]["name"] == "given.png"


def test_an_earlier_upload_of_a_viewer_names_nothing(app: WebApp) -> None:
    """The queue shows the name under which the image was submitted."""
    add(app.signed_in("vera"), WAITING, "viewers.png")
    submit(app.with_key(Permission.QUEUE), "given.png")
    assert claimed(app.signed_in("ann"))["name"] == "given.png"


def test_each_owner_sees_and_logs_their_own_name(app: WebApp) -> None:
    """The owner's card and the log of their decision have the name of their upload."""
    submit(app.with_key(Permission.QUEUE), "given.png")
    ann = app.signed_in("ann")
    card = add(ann, WAITING, "mine.png")
    assert card["name"] == "mine.png"
    assert logged(ann, card, nonce="1", name="mine.png") == "mine.png"
    assert logged(ann, card, nonce="2") == "mine.png"
    assert logged(ann, card, nonce="3", name="given.png") == "given.png"  # as the queue shows it


def test_the_migration_marks_uploads_of_viewers(tmp_path: Path) -> None:
    """An upload of a viewer in an older database does not name the image."""
    path = tmp_path / "old.db"
    db = Database(path)
    migrations.apply(db, stop_before="mark_queueing_uploads")
    db.conn.executescript(
        """
        insert into images (sha256, format, width, height, size_bytes, frames, placeholder,
          first_seen_at) values ('a', 'PNG', 1, 1, 1, 1, x'', '');
        insert into users (name, password_hash, role, created_at) values
          ('vera', '', 'viewer', ''), ('ann', '', 'reviewer', '');
        insert into uploads (image_sha256, owner, name, source, batch_id, uploaded_at) values
          ('a', 'user:vera', 'viewers.png', '', '', ''), ('a', 'user:ann', 'given.png', '', '', '');
        """
    )
    db.close()
    store = Store(path, previews_dir=tmp_path / "images", journal_mode="wal")
    assert store.catalog.name("a") == "given.png"
