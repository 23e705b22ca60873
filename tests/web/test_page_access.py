"""Sessions and API keys as the page lists and ends them."""

from collections.abc import Iterator

import pytest

from nsfw_app.rules.permissions import Permission
from nsfw_app.store import Store
from tests.support.application import WebApp, open_app_in


@pytest.fixture(scope="module")
def app_and_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[WebApp, Store]]:
    """The application with users."""
    with open_app_in(tmp_path_factory.mktemp("access")) as both:
        yield both


@pytest.fixture
def store(app_and_store: tuple[WebApp, Store]) -> Store:
    """The store of the application, without the sessions and keys of earlier tests."""
    _, store = app_and_store
    with store._connections.writing() as db:
        db.execute("delete from sessions")
        db.execute("delete from api_keys")
    return store


@pytest.fixture
def app(app_and_store: tuple[WebApp, Store], store: Store) -> WebApp:
    """The application."""
    return app_and_store[0]


def test_users_see_and_end_their_own_sessions(app: WebApp) -> None:
    """And no other user's; this browser's is marked. No token or hash is listed."""
    ann, elsewhere, bob = (app.signed_in(name) for name in ("ann", "ann", "bob"))
    listed = ann.get("/desk/sessions").json()
    assert [(one["name"], one["own"]) for one in listed] == [("ann", True)] * 2
    assert sorted(one["current"] for one in listed) == [False, True]
    assert all(len(one["id"]) == 16 for one in listed)
    (other,) = [one["id"] for one in listed if not one["current"]]
    (bobs,) = [one["id"] for one in bob.get("/desk/sessions").json()]
    refused = ann.post("/desk/sessions/revoke", json={"id": bobs})
    assert (refused.status_code, refused.json()["error"]["kind"]) == (400, "account")
    assert ann.post("/desk/sessions/revoke", json={"id": other}).json() == {"id": other}
    assert elsewhere.get("/desk/status").status_code == 401
    assert (ann.get("/desk/status").status_code, bob.get("/desk/status").status_code) == (200, 200)


def test_administrators_see_and_end_all_sessions(app: WebApp, store: Store) -> None:
    """What they end is audited under their name."""
    ann, root = app.signed_in("ann"), app.signed_in("root")
    listed = {one["name"]: one for one in root.get("/desk/sessions").json()}
    assert {name: one["own"] for name, one in listed.items()} == {"ann": False, "root": True}
    root.post("/desk/sessions/revoke", json={"id": listed["ann"]["id"]})
    assert ann.get("/desk/status").status_code == 401
    last = list(store.audit.entries())[-1]
    assert (last.actor, last.action, last.subject) == ("root", "user", "ann")
    again = root.post("/desk/sessions/revoke", json={"id": listed["ann"]["id"]})
    assert "has ended already" in again.json()["error"]["message"]


def test_the_last_use_is_listed_once_it_is_written(app: WebApp) -> None:
    """Of sessions and keys, by the task that runs every minute."""
    root, program = app.signed_in("root"), app.with_key(Permission.METRICS)
    assert program.get("/metrics").status_code == 200
    paths = {"/desk/sessions": "last_seen_at", "/desk/keys": "last_used_at"}
    for path, column in paths.items():
        assert [one[column] for one in root.get(path).json()] == [None]
    app.accounts.last_use.write()
    for path, column in paths.items():
        (one,) = root.get(path).json()
        assert one[column] >= one["created_at"]


def test_administrators_revoke_keys(app: WebApp) -> None:
    """At once; the list has what a key may do and until when, and never its secret."""
    root, program = app.signed_in("root"), app.with_key(Permission.EXPORT, Permission.CLASSIFY)
    new = app.accounts.add_key("soon", [Permission.METRICS], per_minute=5, days=30, actor="test")
    first, second = root.get("/desk/keys").json()
    assert (first["scopes"], first["expires_at"]) == (["classify", "export"], None)
    assert (second["name"], second["per_minute"], second["expired"]) == ("soon", 5, False)
    assert new.key not in root.get("/desk/keys").text
    assert root.post("/desk/keys/revoke", json={"name": first["name"]}).status_code == 200
    assert program.get("/desk/log.jsonl").status_code == 401
    assert [key["name"] for key in root.get("/desk/keys").json()] == ["soon"]
    again = root.post("/desk/keys/revoke", json={"name": first["name"]})
    assert again.json()["error"]["kind"] == "account"


@pytest.mark.parametrize("path", ["/desk/sessions/revoke", "/desk/keys/revoke"])
@pytest.mark.parametrize("body", [{}, {"id": 1, "name": 1}, {"id": "", "name": ""}, []])
def test_a_wrong_body_is_rejected(app: WebApp, path: str, body: object) -> None:
    """Which session or key is meant must be said."""
    assert app.signed_in("root").post(path, json=body).status_code == 422


@pytest.mark.parametrize("path", ["/desk/sessions/revoke", "/desk/keys/revoke"])
def test_a_cross_site_write_is_refused(app: WebApp, path: str) -> None:
    """Another site cannot end sessions or revoke keys."""
    headers = {"sec-fetch-site": "cross-site"}
    sent = app.signed_in("root").post(path, json={"id": "a", "name": "a"}, headers=headers)
    assert sent.status_code == 403
