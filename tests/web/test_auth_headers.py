"""Sign-in by a proxy's header: from the named proxy only, with a mapped role only."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from nsfw_app.accounts import Accounts
from nsfw_app.rules.identities import Identity
from nsfw_app.rules.permissions import Permission, UserRole
from nsfw_app.settings import load
from nsfw_app.store import Store
from nsfw_app.web.auth.callers import Callers
from nsfw_app.web.http.auth_headers import AuthHeaderInfo, AuthHeaders, auth_headers_of
from tests.support.application import (
    PASSWORDS,
    WebApp,
    add,
    answer_to,
    open_app_in,
    run_async,
    served,
)
from tests.support.nginx import placed, running
from tests.support.server import free_port

PROXY, OTHER_PROXY = "198.51.100.7", "192.0.2.1"
CHOSEN = {
    "auth_header": "X-Forwarded-User",
    "auth_header_from": (PROXY,),
    "auth_groups_header": "X-Forwarded-Groups",
    "auth_roles": {"moderators": "reviewer", "ts-leads": "admin"},
}
ANN = {"x-forwarded-user": "ann", "x-forwarded-groups": "staff, moderators"}


@pytest.fixture(scope="module")
def app_and_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[WebApp, Store]]:
    """The application behind that proxy and another one, with one user who has a password."""
    more = {"roles": {"root": UserRole.ADMIN}, "FORWARDED_ALLOW_IPS": OTHER_PROXY}
    with open_app_in(tmp_path_factory.mktemp("proxy"), **more, **CHOSEN) as both:
        yield both


@pytest.fixture
def store(app_and_store: tuple[WebApp, Store]) -> Store:
    """The store of the application, without the users of earlier tests."""
    _, store = app_and_store
    with store._connections.writing() as db:
        db.execute("delete from users where issuer is not null")
    return store


@pytest.fixture
def app(app_and_store: tuple[WebApp, Store], store: Store) -> WebApp:
    """The application."""
    return app_and_store[0]


def through(app: WebApp, peer: str = PROXY, **headers: str) -> TestClient:
    """A client whose connections come from this address, with these headers."""
    client = TestClient(app.client.app, base_url="http://review.test", client=(peer, 50_000))
    client.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
    return client


def test_the_proxys_user_has_the_role_of_the_groups(app: WebApp, store: Store) -> None:
    """Without a session and a button to sign out; made at the first request, once."""
    ann = through(app, **ANN)
    status = ann.get("/desk/status").json()
    assert (status["reviewer"], status["auth_action"]) == ("ann", None)
    assert "review" in status["permissions"]
    assert "manage" not in status["permissions"]
    card = add(ann)
    assert ann.post("/desk/decisions", json=answer_to(card)).status_code == 200
    assert {user.name: user.issuer for user in store.users.all()} == {"ann": "proxy", "root": None}
    lead = through(app, x_forwarded_user="lea", x_forwarded_groups="ts-leads,moderators")
    assert lead.get("/desk/keys").status_code == 200


def test_a_role_follows_the_groups_of_each_request(app: WebApp, store: Store) -> None:
    """A change takes effect at once, and is audited once."""
    lou = {**ANN, "x-forwarded-user": "lou"}
    assert through(app, **lou).get("/desk/keys").status_code == 403
    for _ in range(2):
        lead = through(app, **{**lou, "x-forwarded-groups": "ts-leads"})
        assert lead.get("/desk/keys").status_code == 200
    without = through(app, **{**lou, "x-forwarded-groups": "staff"}).get("/desk/status")
    assert without.status_code == 403
    assert "lou has no role on this page" in without.json()["error"]["message"]
    assert "NSFW_AUTH_ROLES" in without.json()["error"]["message"]
    changes = [entry for entry in store.audit.entries() if entry.subject == "lou"]
    assert [entry.details["role"] for entry in changes] == ["reviewer", "admin"]


@pytest.mark.parametrize("peer", ["198.51.100.8", "127.0.0.1", "testclient"])
@pytest.mark.parametrize("header", ["x-forwarded-user", "x-forwarded-groups"])
def test_the_header_from_elsewhere_is_refused(
    app: WebApp, peer: str, header: str, caplog: pytest.LogCaptureFixture, store: Store
) -> None:
    """With a sentence and in the log, also where it claims to be forwarded by the proxy."""
    forged = through(app, peer, **{header: "ann"})
    refused = forged.get("/desk/status", headers={"x-forwarded-for": PROXY})
    assert refused.status_code == 403
    assert "is accepted from the authenticating proxy only" in refused.json()["error"]["message"]
    assert peer in caplog.text
    assert [user.name for user in store.users.all()] == ["root"]
    assert forged.get("/", headers={"accept": "text/html"}).status_code == 403
    assert forged.get("/healthz").status_code == 200


def test_another_proxy_does_not_change_the_peer(app: WebApp) -> None:
    """`X-Forwarded-For` of a trusted proxy names the client; it does not make it the proxy."""
    forged = through(app, OTHER_PROXY, x_forwarded_user="ann", x_forwarded_for=PROXY)
    assert forged.get("/desk/status").status_code == 403


@pytest.mark.parametrize(
    ("headers", "status", "message"),
    [
        ([], 401, "Sign in"),
        ([("x-forwarded-user", "")], 401, "Sign in"),
        ([("x-forwarded-groups", "ts-leads")], 401, "Sign in"),
        ([("x-forwarded-user", "ann"), ("X-Forwarded-User", "root")], 403, "more than once"),
        (
            [
                ("x-forwarded-user", "ann"),
                ("x-forwarded-groups", "ts-leads"),
                ("X-Forwarded-Groups", "moderators"),
            ],
            403,
            "more than once",
        ),
        ([("x-forwarded-user", "a b"), ("x-forwarded-groups", "ts-leads")], 403, "not a valid"),
        ([("x-forwarded-user", "Local"), ("x-forwarded-groups", "ts-leads")], 403, "reserved"),
    ],
)
def test_wrong_headers_of_the_proxy(
    app: WebApp, headers: list[tuple[str, str]], status: int, message: str
) -> None:
    """Without a user the caller is anonymous; an ambiguous or invalid one is refused."""
    refused = through(app).get("/desk/status", headers=headers)
    assert refused.status_code == status
    assert message in refused.json()["error"]["message"]


def test_a_page_without_users_is_not_open(tmp_path: Path) -> None:
    """Behind an authenticating proxy a caller on this machine is not the local reviewer."""
    empty = Store(tmp_path / "review.db", previews_dir=tmp_path / "images", journal_mode="wal")
    assert not Callers(load(**CHOSEN), Accounts(empty)).open


def test_a_cross_site_write_is_refused(app: WebApp) -> None:
    """The proxy authenticates requests of other sites, too."""
    ann = through(app, **ANN, sec_fetch_site="cross-site")
    assert ann.post("/desk/queue/claim", json={}).status_code == 403


def test_a_disabled_user_stays_out(app: WebApp, store: Store) -> None:
    """Whom the proxy names is disabled from the next request on."""
    ann = through(app, **ANN)
    assert ann.get("/desk/status").status_code == 200
    store.users.change_user("ann", disabled=True, actor="test")
    refused = ann.get("/desk/status")
    assert refused.status_code == 403
    assert "ann is disabled" in refused.json()["error"]["message"]


def taken(headers: list[tuple[bytes, bytes]], **more: Any) -> tuple[AuthHeaderInfo, list[bytes]]:
    """What is taken from the headers of a request of the proxy, and the names that are left."""
    scope = {"type": "http", "client": (PROXY, 1), "headers": headers}

    async def application(scope: Any, receive: Any, send: Any) -> None:
        """What comes next."""

    middleware = AuthHeaders(application, settings=load(**{**CHOSEN, **more}))
    run_async(middleware, scope, None, None)
    return auth_headers_of(scope), [name for name, _ in scope["headers"]]  # type: ignore[misc]


def test_names_are_mapped_where_no_header_has_groups() -> None:
    """A header that is not configured is not read."""
    sent = [(b"X-Forwarded-User", b"Lea"), (b"x-forwarded-groups", b"ts-leads")]
    info, left = taken(sent, auth_groups_header="")
    assert info.identity == Identity("proxy", "Lea", "Lea", ("Lea",))
    assert left == [b"x-forwarded-groups"]


def test_names_are_utf_8() -> None:
    """Other bytes are refused, as they might be read as another name elsewhere."""
    info, left = taken([(b"x-forwarded-user", "Zoë".encode()), (b"accept", b"*/*")])
    assert info.identity == Identity("proxy", "Zoë", "Zoë", ())
    assert left == [b"accept"]
    assert taken([(b"x-forwarded-user", b"Zo\xeb")])[0].refusal == (
        "The proxy's headers are not UTF-8 text."
    )


def test_passwords_and_keys_also_work(app: WebApp) -> None:
    """For programs, and for an administrator while the proxy is down; not for a name of theirs."""
    direct = app.anonymous()
    name = {"username": "root", "password": PASSWORDS["root"]}
    assert direct.post("/login", data=name).status_code == 200
    assert direct.get("/desk/status").json()["reviewer"] == "root"
    assert "Open this page through the proxy" in app.anonymous().get("/login").text
    program = app.with_key(Permission.CLASSIFY)
    assert program.get("/v1/openapi.json").status_code == 200
    other = through(app, x_forwarded_user="root", x_forwarded_groups="ts-leads")
    refused = other.get("/desk/status")
    assert refused.status_code == 403
    assert "belongs to another account" in refused.json()["error"]["message"]
    with_token = through(app, **ANN, authorization="Bearer of.the.provider")
    assert with_token.get("/desk/status").json()["reviewer"] == "ann"
    both = through(app, **ANN)
    both.cookies.set("nsfw_review", direct.cookies["nsfw_review"])
    assert both.get("/desk/status").json()["reviewer"] == "ann"


def test_behind_nginx(tmp_path: Path) -> None:
    """With the documented configuration, which replaces what visitors send."""
    local = {**CHOSEN, "auth_header_from": ("127.0.0.1",), "FORWARDED_ALLOW_IPS": "127.0.0.1"}
    folder = tmp_path / "nginx"
    folder.mkdir()
    with (
        open_app_in(tmp_path, roles={}, **local) as (app, _),
        served(app.client.app) as upstream,
        signed_in_proxy(folder, upstream) as url,
    ):
        forged = {"x-forwarded-user": "root", "x-forwarded-groups": "ts-leads"}
        status = httpx.get(f"{url}/desk/status", headers=forged, auth=("ann", "password"))
        assert status.json()["reviewer"] == "ann"
        assert "manage" not in status.json()["permissions"]
        assert httpx.get(f"{url}/desk/status", headers=forged).status_code == 401


@contextmanager
def signed_in_proxy(folder: Path, upstream: str) -> Iterator[str]:
    """An nginx that signs ann in with a password, as docs/users-and-keys.md shows."""
    port = free_port()
    text = (Path(__file__).parents[2] / "docs" / "users-and-keys.md").read_text(encoding="utf-8")
    block = text.partition("```nginx\n# trusted-header\n")[2].partition("```")[0]
    users = folder / "users"
    users.write_text("ann:{PLAIN}password\n")
    block = block.replace("/etc/nginx/users", str(users))
    with running(folder, placed(block, port=port, upstream=upstream, folder=folder), [port]):
        yield f"http://127.0.0.1:{port}"
