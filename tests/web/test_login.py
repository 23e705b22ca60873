"""Sign-in: redirects, cookies, rate limits, API keys, and that it delays no other request."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from nsfw_app.review.engine import Engine
from nsfw_app.rules.permissions import Permission, UserRole
from nsfw_app.store import Store
from tests.support.application import PASSWORDS, WebApp, add, answer_to, open_app, served
from tests.support.fakes import image_bytes

BROWSER = {"accept": "text/html,application/xhtml+xml"}
RIGHT = {"username": "ann", "password": PASSWORDS["ann"]}
WRONG = {"username": "ann", "password": "wrong"}


@pytest.fixture
def web_app(engine: Engine, store: Store, tmp_path: Path) -> Iterator[WebApp]:
    """The application with users."""
    with open_app(engine, store, tmp_path) as web_app:
        yield web_app


def test_a_browser_is_redirected_to_the_sign_in(web_app: WebApp) -> None:
    """Opening the page requires a sign-in; sign-out ends the session."""
    client = web_app.client
    away = client.get("/", headers=BROWSER, follow_redirects=False)
    assert (away.status_code, away.headers["location"]) == (303, "/login")
    assert "<form" in client.get("/login").text
    back = client.post("/login", data=RIGHT, headers=BROWSER, follow_redirects=False)
    assert (back.status_code, back.headers["location"]) == (303, "/")
    cookie = back.headers["set-cookie"]
    assert all(word in cookie for word in ("HttpOnly", "SameSite=Lax", "Max-Age=43200", "Path=/"))
    assert client.get("/", headers=BROWSER).status_code == 200
    token = client.cookies["nsfw_review"]
    client.post("/logout")
    client.cookies.set("nsfw_review", token)  # a stolen cookie
    assert client.get("/desk/status").status_code == 401


def test_a_program_gets_json(web_app: WebApp) -> None:
    """Without a browser's Accept header the responses are JSON."""
    assert web_app.client.get("/desk/status").json()["error"]["kind"] == "not_signed_in"
    refused = web_app.client.post("/login", data=WRONG)
    assert (refused.status_code, refused.json()["error"]["kind"]) == (401, "not_signed_in")
    assert web_app.client.post("/login", data=RIGHT).json() == {"success": True}


def test_over_https_the_cookie_is_secure(web_app: WebApp) -> None:
    """A cookie set over HTTPS has the Secure attribute."""
    client = web_app.anonymous()
    client.base_url = "https://review.test"
    assert "Secure" in client.post("/login", data=RIGHT).headers["set-cookie"]


@pytest.mark.parametrize(
    ("public_url", "secure"), [("https://x.test/a", True), ("HTTPS://x.test", True), ("", False)]
)
def test_a_page_with_a_public_https_address_has_secure_cookies(
    public_url: str, secure: bool, engine: Engine, store: Store, tmp_path: Path
) -> None:
    """Also behind a proxy that does not forward the scheme."""
    with open_app(engine, store, tmp_path, public_url=public_url) as web_app:
        first = web_app.client.post("/login", data=RIGHT).headers["set-cookie"]
        session = {"cookie": first.partition(";")[0]}
        last = web_app.anonymous().post("/logout", headers=session, follow_redirects=False)
    assert ("Secure" in first) is secure
    assert ("Secure" in last.headers["set-cookie"]) is secure


def test_the_sixth_attempt_is_limited(web_app: WebApp) -> None:
    """After five failures in a minute for a name and address: 429 with Retry-After."""
    statuses = [web_app.client.post("/login", data=WRONG).status_code for _ in range(5)]
    assert statuses == [401] * 5
    refused = web_app.client.post("/login", data=RIGHT)
    assert (refused.status_code, refused.json()["error"]["kind"]) == (429, "too_many_requests")
    assert 0 < int(refused.headers["retry-after"]) <= 60
    page = web_app.client.post("/login", data=RIGHT, headers=BROWSER)
    assert page.status_code == 429
    assert "Try again in" in page.text


def test_the_sign_in_page_is_escaped(web_app: WebApp) -> None:
    """The submitted username is escaped."""
    hostile = {"username": "<script>alert(1)</script>", "password": "x"}
    page = web_app.client.post("/login", data=hostile, headers=BROWSER)
    assert page.status_code == 401
    assert "<script" not in page.text


def test_other_sites_can_neither_sign_in_nor_out(web_app: WebApp) -> None:
    """Forms of other sites are rejected."""
    elsewhere = {"origin": "https://elsewhere.test"}
    for path in ("/login", "/logout"):
        assert web_app.client.post(path, data=RIGHT, headers=elsewhere).status_code == 403
    assert web_app.client.post("/login", data=RIGHT, headers={"origin": "null"}).status_code == 403
    hidden = {"sec-fetch-site": "cross-site"}  # a browser that sends no Origin
    assert web_app.client.post("/login", data=RIGHT, headers=hidden).status_code == 403
    assert web_app.client.post(
        "/login", data=RIGHT, headers={"origin": "http://review.test"}
    ).json()


def test_a_slow_sign_in_delays_no_other_request(web_app: WebApp) -> None:
    """While passwords are checked, other requests are not delayed."""
    with served(web_app.client.app) as url:
        stop = threading.Event()

        def try_on() -> None:
            with httpx.Client(base_url=url, timeout=60) as client:
                while not stop.is_set():
                    client.post("/login", data={"username": "ann", "password": "wrong"})

        threads = [threading.Thread(target=try_on) for _ in range(6)]
        for thread in threads:
            thread.start()
        waits = []
        with httpx.Client(base_url=url) as client:
            for _ in range(30):
                started = time.perf_counter()
                assert client.get("/healthz").status_code == 200
                waits.append(time.perf_counter() - started)
        stop.set()
        for thread in threads:
            thread.join()
    assert sorted(waits)[len(waits) // 2] < 1


@pytest.mark.parametrize(
    "path", ["/", "/login", "/desk/status", "/desk/assets/gallery/grid.js", "/nowhere"]
)
def test_every_response_has_security_headers(web_app: WebApp, path: str) -> None:
    """Responses have the headers against sniffing, foreign content and caching."""
    response = web_app.signed_in("ann").get(path, headers={"origin": "https://elsewhere.test"})
    assert response.headers["x-content-type-options"] == "nosniff"
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    scripts = next(part for part in policy.split("; ") if part.startswith("script-src"))
    assert "'unsafe-inline'" not in scripts
    assert "http" not in scripts
    assert not [name for name in response.headers if name.startswith("access-control-")]
    if path.startswith("/desk/s"):
        assert response.headers["cache-control"] == "private, no-store"


def test_a_key_that_is_revoked_or_over_its_limit(web_app: WebApp, store: Store) -> None:
    """Both are rejected with their own status on every route."""
    client = web_app.with_key(Permission.CLASSIFY, per_minute=2)
    image = {"content": image_bytes(9)}
    statuses = [client.post("/v1/image-classification", **image).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]
    other = web_app.with_key(Permission.CLASSIFY)
    store.keys.revoke(web_app.accounts.keys()[-1].name, actor="test")
    assert other.post("/v1/image-classification", **image).status_code == 401


@pytest.mark.parametrize("header", ["authorization", "x-api-key"])
def test_a_key_is_sent_in_either_header(web_app: WebApp, header: str) -> None:
    """X-API-Key works where a proxy uses Authorization itself."""
    key = web_app.with_key(Permission.CLASSIFY).headers["authorization"]
    value = key if header == "authorization" else key.removeprefix("Bearer ")
    client = web_app.anonymous()
    response = client.post(
        "/v1/image-classification", content=image_bytes(9), headers={header: value}
    )
    assert response.status_code == 200


def test_the_local_reviewer_needs_no_sign_in(engine: Engine, store: Store, tmp_path: Path) -> None:
    """Without users the local reviewer has all permissions; keys of other apps are ignored."""
    with open_app(engine, store, tmp_path, roles={}) as web_app:
        client = web_app.client
        dummy = {"authorization": "Bearer dummy"}
        assert client.get("/desk/status", headers=dummy).json()["auth_action"] is None
        card = add(client)
        assert client.post("/desk/decisions", json=answer_to(card)).status_code == 200
        unknown = {"authorization": "Bearer nsfw_unknown"}
        assert client.get("/desk/status", headers=unknown).status_code == 401
        web_app.accounts.add_user("ann", PASSWORDS["ann"], UserRole.ADMIN, actor="test")
        assert client.get("/desk/status").status_code == 401
