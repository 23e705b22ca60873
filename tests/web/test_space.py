"""On a Space: sign-in with a Hugging Face account, and an anonymous trial of the Review tab."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from httpx2 import Response

from nsfw_app.review.engine import Engine
from nsfw_app.store import Store
from tests.support.application import WebApp, add, answer_to, open_app
from tests.support.fakes import image_bytes
from tests.support.openid import CLIENT_ID, CLIENT_SECRET, Provider, person, provider

HOST = "me-review.hf.space"
SPACE = {
    "SPACE_ID": "me/review",
    "SPACE_HOST": HOST,
    "OAUTH_CLIENT_ID": CLIENT_ID,
    "OAUTH_CLIENT_SECRET": CLIENT_SECRET,
}
ROLES = {"ann": "admin", "my-org": "reviewer"}


@pytest.fixture
def hub() -> Iterator[Provider]:
    """A local OpenID provider."""
    with provider() as running:
        yield running


@pytest.fixture
def space(engine: Engine, store: Store, tmp_path: Path, hub: Provider) -> Iterator[WebApp]:
    """The application as a Space, in which Ann is an admin and my-org reviews."""
    chosen = {**SPACE, "OPENID_PROVIDER_URL": hub.url, "hub_roles": ROLES}
    with open_app(engine, store, tmp_path, roles={}, url=f"https://{HOST}", **chosen) as app:
        app.client.base_url = f"https://{HOST}"
        yield app


def sign_in(client: TestClient, hub: Provider) -> Response:
    """Sign in through the provider."""
    away = client.get("/login/provider", follow_redirects=False)
    assert away.status_code == 303
    brought = hub.consent(away.headers["location"], redirect_uri=f"https://{HOST}/login/callback")
    return client.get("/login/callback", params=brought, follow_redirects=False)


def test_configured_accounts_get_their_role(space: WebApp, hub: Provider) -> None:
    """By username or organization, each with the configured role."""
    assert sign_in(space.client, hub).status_code == 303
    status = space.client.get("/desk/status").json()
    assert (status["reviewer"], status["auth_action"]) == ("ann", "sign_out")
    assert "manage" in status["permissions"]

    hub.person = person("bob", "other-org", "my-org")
    bob = space.anonymous()
    assert sign_in(bob, hub).status_code == 303
    permissions = bob.get("/desk/status").json()["permissions"]
    assert "review" in permissions
    assert "manage" not in permissions


def test_the_cookie_survives_in_a_spaces_frame(space: WebApp, hub: Provider) -> None:
    """In a cross-site frame the cookie is Partitioned, Secure and HttpOnly."""
    cookie = sign_in(space.client, hub).headers["set-cookie"]
    assert all(word in cookie for word in ("SameSite=None", "Secure", "Partitioned", "HttpOnly"))
    frames = space.client.get("/").headers["content-security-policy"]
    assert "frame-ancestors https://huggingface.co https://*.hf.space" in frames


def test_other_accounts_stay_anonymous(space: WebApp, hub: Provider) -> None:
    """An account without a role gets a message and stays anonymous."""
    hub.person = person("eve", "other-org")
    refused = sign_in(space.client, hub)
    assert refused.status_code == 401
    assert "eve has no role on this page" in refused.text
    assert space.client.get("/desk/status").json()["permissions"] == ["page"]


def test_a_login_completes_in_its_own_browser_only(space: WebApp, hub: Provider) -> None:
    """A callback of another browser's login, or a repeated one, is rejected."""
    away = space.client.get("/login/hub", follow_redirects=False).headers["location"]
    back = f"https://{HOST}/login/callback"
    brought = hub.consent(away, redirect_uri=back)
    victim = space.anonymous()
    assert victim.get("/login/callback", params=brought).status_code == 401
    assert space.client.get("/login/callback", params=brought).status_code == 401
    assert victim.get("/desk/status").json()["permissions"] == ["page"]


@pytest.mark.parametrize(
    "brought", [{}, {"state": "invented", "code": "x"}, {"error": "access_denied", "state": "s"}]
)
def test_an_invalid_callback_is_rejected(space: WebApp, brought: dict[str, str]) -> None:
    """An invalid callback ends at the sign-in page with what to do."""
    refused = space.client.get("/login/callback", params=brought)
    assert refused.status_code == 401
    assert f"https://{HOST} in a tab of its own" in refused.text


def test_an_unknown_code_is_rejected(space: WebApp, hub: Provider) -> None:
    """Without a token of the provider the sign-in fails."""
    away = space.client.get("/login/hub", follow_redirects=False).headers["location"]
    state = hub.consent(away, redirect_uri=f"https://{HOST}/login/callback")["state"]
    refused = space.client.get("/login/callback", params={"state": state, "code": "wrong"})
    assert refused.status_code == 401
    assert "did not confirm your account" in refused.text


def test_an_unreachable_provider_is_reported(engine: Engine, store: Store, tmp_path: Path) -> None:
    """The sign-in page shows a message."""
    chosen = {**SPACE, "OPENID_PROVIDER_URL": "http://127.0.0.1:1", "hub_roles": ROLES}
    with open_app(engine, store, tmp_path, roles={}, **chosen) as app:
        refused = app.client.get("/login/hub")
        assert refused.status_code == 401
        assert "does not respond" in refused.text


def test_there_is_no_password_on_a_space(space: WebApp) -> None:
    """Sign-in with a password is not available on a Space."""
    assert "Sign in with Hugging Face" in space.client.get("/login").text
    refused = space.client.post("/login", data={"username": "ann", "password": "x"})
    assert refused.status_code == 404


def test_pending_logins_are_limited(space: WebApp) -> None:
    """Pending logins are limited per visitor, with an error page."""
    responses = [
        space.client.get("/login/hub", follow_redirects=False, headers={"accept": "text/html"})
        for _ in range(51)
    ]
    assert {response.status_code for response in responses[:50]} == {303}
    assert responses[50].status_code == 429
    assert responses[50].headers["content-type"].startswith("text/html")


def test_the_callback_keeps_the_path_prefix(
    engine: Engine, store: Store, tmp_path: Path, hub: Provider
) -> None:
    """The callback URL, both cookies and the last redirect are below the path."""
    chosen = {**SPACE, "OPENID_PROVIDER_URL": hub.url, "hub_roles": ROLES}
    with open_app(engine, store, tmp_path, roles={}, root_path="/review", **chosen) as app:
        app.client.base_url = f"https://{HOST}"
        away = app.client.get("/login/hub", follow_redirects=False)
        assert "Path=/review/login;" in away.headers["set-cookie"]
        back = f"https://{HOST}/review/login/callback"
        brought = hub.consent(away.headers["location"], redirect_uri=back)
        flow = {"cookie": away.headers["set-cookie"].partition(";")[0]}
        done = app.client.get(
            "/login/callback", params=brought, headers=flow, follow_redirects=False
        )
        assert (done.status_code, done.headers["location"]) == (303, "/review/")
        assert "Path=/review;" in done.headers["set-cookie"]


def test_a_trial_stores_nothing(space: WebApp, store: Store, tmp_path: Path) -> None:
    """A visitor's image is classified and shown; no file or row is stored."""
    visitor = space.client
    card = add(visitor, red=150)
    assert (card["action"], card["decision"], card["kept"]) == ("review", None, False)
    assert card["placeholder"].startswith("data:image/webp")
    again = visitor.post("/desk/pictures", params={"name": "a.png"}, content=image_bytes(150))
    assert again.headers["content-type"] == "image/jpeg"
    assert [path for path in (tmp_path / "images").rglob("*") if path.is_file()] == []
    for table in ("images", "predictions", "uploads", "queue"):
        assert store.queue._connections.row(f"select count(*) from {table}")[0] == 0
    assert visitor.get(f"/desk/images/{card['sha256']}/picture").status_code == 404


def test_a_visitor_has_no_other_permission(space: WebApp) -> None:
    """No gallery, decision, queue, log or API."""
    visitor = space.client
    card = add(visitor)
    many = visitor.post(
        "/desk/images", params={"name": "a.png", "source": "gallery"}, content=image_bytes(1)
    )
    batch = visitor.post(
        "/desk/images",
        params={"name": "a.png", "source": "review", "batch_id": "b"},
        content=image_bytes(1),
    )
    assert (many.status_code, batch.status_code) == (401, 401)
    assert visitor.post("/desk/decisions", json=answer_to(card)).status_code == 401
    assert visitor.post("/desk/queue/claim", json={}).status_code == 401
    assert visitor.get("/desk/log.csv").status_code == 401
    assert visitor.post("/v1/image-classification", content=image_bytes(1)).status_code == 401
    files = {"files": ("a.png", image_bytes(1), "image/png")}
    assert visitor.post("/gradio_api/upload", files=files).status_code == 401


def test_trials_are_limited(space: WebApp) -> None:
    """Trials of one visitor are limited."""
    statuses = [
        space.client.post("/desk/pictures", params={"name": "a"}, content=b"x").status_code
        for _ in range(31)
    ]
    assert set(statuses[:30]) == {415}
    assert statuses[30] == 429


def test_a_forged_address_is_not_counted(space: WebApp) -> None:
    """Only the hop that the platform's proxy added to X-Forwarded-For is counted."""
    statuses = [try_from(space, f"198.51.100.{number}, 203.0.113.9") for number in range(31)]
    assert statuses == [415] * 30 + [429]
    assert try_from(space, "203.0.113.10") == 415
    assert try_from(space, "203.0.113.9, 10.20.30.40") == 429  # a hop of the platform's own


def try_from(space: WebApp, forwarded_for: str) -> int:
    """Try an image on the Space through the platform's proxy; the status."""
    response = space.client.post(
        "/desk/pictures",
        params={"name": "a"},
        content=b"x",
        headers={"x-forwarded-for": forwarded_for},
    )
    return response.status_code


def test_all_visitors_together_are_limited(space: WebApp) -> None:
    """Visitors of many addresses share one limit, with Retry-After."""
    statuses = [try_from(space, f"203.0.113.{number}") for number in range(121)]
    assert statuses == [415] * 120 + [429]
    refused = space.client.post(
        "/desk/pictures", params={"name": "a"}, headers={"x-forwarded-for": "192.0.2.1"}
    )
    assert 0 < int(refused.headers["retry-after"]) <= 60


def test_host_and_prefix_headers_are_ignored_on_a_space(space: WebApp) -> None:
    """The platform's proxy forwards these headers from visitors, so they are not trusted."""
    sent = {"x-forwarded-host": "elsewhere.test", "x-forwarded-prefix": "/elsewhere"}
    page = space.client.get("/", headers={**sent, "accept": "text/html"})
    assert page.status_code == 200
    assert "elsewhere" not in page.text
    assert "elsewhere" not in space.client.get("/login", headers=sent).text
