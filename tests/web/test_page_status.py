"""`/desk/status`: what the page needs to know about server and caller."""

from datetime import UTC, datetime
from pathlib import Path

from nsfw_app import __version__
from nsfw_app.records import Policy, utc
from nsfw_app.review.engine import Engine
from nsfw_app.store import Store
from tests.support.application import open_app


def test_the_status_has_version_and_limits(engine: Engine, store: Store, tmp_path: Path) -> None:
    """A page sends at most as many files at once as its caller has request slots."""
    with open_app(engine, store, tmp_path, max_waiting=4) as app:
        status = app.signed_in("ann").get("/desk/status").json()
    assert status["version"] == __version__
    assert status["uploads_at_once"] == 1
    assert status["auth_action"] == "sign_out"


def test_a_page_without_users_has_no_sign_in(engine: Engine, store: Store, tmp_path: Path) -> None:
    """There is no button to sign in or out, and the caller has all permissions."""
    with open_app(engine, store, tmp_path, roles={}) as app:
        status = app.client.get("/desk/status").json()
    assert status["auth_action"] is None
    assert "manage" in status["permissions"]
    assert status["uploads_at_once"] == 2


def test_the_heartbeat_has_policy_and_start(engine: Engine, store: Store, tmp_path: Path) -> None:
    """It names the policy in force, and each JSON reply has its version in a header."""
    with open_app(engine, store, tmp_path) as app:
        ann = app.signed_in("ann")
        first = ann.get("/desk/heartbeat")
        assert (first.json()["policy_version"], first.json()["state"]) == (1, "ready")
        assert first.json()["started_at"] <= utc(datetime.now(UTC).isoformat())
        assert first.json()["saved"] is None
        assert "hub_sync" not in app.anonymous().get("/readyz").json()
        engine.save_policy(Policy(0.4, 0.1, 0.9), author="root", reason="a trial")
        for path in ("/desk/heartbeat", "/desk/status", "/desk/queue", "/desk/images/none/picture"):
            assert ann.get(path).headers["nsfw-policy-version"] == "2"
        assert ann.get("/desk/heartbeat").json()["policy_version"] == 2
        assert "nsfw-policy-version" not in ann.get("/desk/assets/gallery/grid.js").headers


def test_the_heartbeat_writes_nothing(engine: Engine, store: Store, tmp_path: Path) -> None:
    """Open pages poll it, and a write to the database would wait for the disk."""
    with open_app(engine, store, tmp_path) as app:
        ann = app.signed_in("ann")
        database = store.queue._connections.db
        before = database.execute("pragma data_version").fetchone()[0]
        assert ann.get("/desk/heartbeat").status_code == 200
        assert database.execute("pragma data_version").fetchone()[0] == before
