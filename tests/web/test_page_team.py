"""What administrators set for the team: viewing defaults, and not to review."""

from pathlib import Path

import pytest

from nsfw_app.review.engine import Engine
from nsfw_app.store import Store
from tests.support.application import add, answer_to, open_app

UNSET = dict.fromkeys(("blurPx", "greyscale", "greyscaleRevealed", "reveal", "pauseAfter"))
CHOSEN = {
    "blurPx": 20, "greyscale": False, "greyscaleRevealed": True, "reveal": "click", "pauseAfter": 0,
}  # fmt: skip


def test_viewing_defaults_are_kept_and_audited(
    engine: Engine, store: Store, tmp_path: Path
) -> None:
    """Every page gets them with its status; null leaves the program's own."""
    with open_app(engine, store, tmp_path) as app:
        ann, root = app.signed_in("ann"), app.signed_in("root")
        assert ann.get("/desk/status").json()["viewing_defaults"] == UNSET
        assert root.post("/desk/viewing-defaults", json=CHOSEN).json() == CHOSEN
        assert ann.get("/desk/status").json()["viewing_defaults"] == CHOSEN
        (entry,) = [e for e in engine.audit.entries() if e.action == "viewing_defaults"]
        assert (entry.actor, entry.details["blur_px"]) == ("root", 20)
        assert root.post("/desk/viewing-defaults", json={}).json() == UNSET


@pytest.mark.parametrize(
    "body", [{"blurPx": 0}, {"blurPx": 99}, {"reveal": "always"}, {"pauseAfter": -1}]
)
def test_viewing_defaults_out_of_range_are_rejected(
    engine: Engine, store: Store, tmp_path: Path, body: dict[str, object]
) -> None:
    """Blur cannot be set to nothing for everyone."""
    with open_app(engine, store, tmp_path) as app:
        assert app.signed_in("root").post("/desk/viewing-defaults", json=body).status_code == 422


def test_an_admin_who_does_not_review_sees_all_and_decides_nothing(
    engine: Engine, store: Store, tmp_path: Path
) -> None:
    """Until they take it back; both are audited, and no other user is affected."""
    with open_app(engine, store, tmp_path) as app:
        ann, root = app.signed_in("ann"), app.signed_in("root")
        card = add(ann, 250)
        ann.post("/desk/decisions", json=answer_to(card, label="normal"))
        assert root.get("/desk/log").json()["rows"] == []
        assert root.post("/desk/reviewing", json={"reviews": False}).json() == {"reviews": False}
        status = root.get("/desk/status").json()
        assert status["reviews"] is False
        assert "review" not in status["permissions"]
        page = root.get("/desk/log").json()
        assert (len(page["rows"]), page["left_out"]) == (1, "")
        assert root.get("/desk/log.csv").headers["nsfw-left-out"] == "none"
        refused = root.post("/desk/decisions", json=answer_to(card, nonce="r"))
        assert refused.status_code == 403
        assert "does not review" in refused.json()["error"]["message"]
        assert ann.get("/desk/status").json()["reviews"] is True
        root.post("/desk/reviewing", json={"reviews": True})
        assert root.post("/desk/decisions", json=answer_to(card, nonce="r")).status_code == 200
        entries = [e for e in engine.audit.entries() if e.action == "reviewing"]
        assert [(e.actor, e.details) for e in entries] == [
            ("root", {"reviews": False}), ("root", {"reviews": True}),
        ]  # fmt: skip


def test_the_local_reviewer_can_stop_reviewing(
    engine: Engine, store: Store, tmp_path: Path
) -> None:
    """Also on a page without users, where the caller has no account."""
    with open_app(engine, store, tmp_path, roles={}) as app:
        card = add(app.client, 250)
        app.client.post("/desk/reviewing", json={"reviews": False})
        assert app.client.post("/desk/decisions", json=answer_to(card)).status_code == 403
