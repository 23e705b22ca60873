"""`/desk/status`: what the page needs to know about server and caller."""

from pathlib import Path

from nsfw_app import __version__
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
