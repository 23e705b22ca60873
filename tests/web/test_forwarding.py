"""Forwarding headers: which proxies are trusted, what is applied, what is removed."""

from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from starlette.types import Receive, Scope, Send

from nsfw_app import settings
from nsfw_app.review.engine import Engine
from nsfw_app.rules.permissions import Permission
from nsfw_app.store import Store
from nsfw_app.web.http.forwarding import Forwarding, TrustedProxies, proxy_of, trusted_proxies
from tests.support.application import PASSWORDS, open_app, run_async

PROXY, VISITOR, FORGED = "10.0.0.1", "203.0.113.9", "198.51.100.7"
SPACE = {"SPACE_ID": "me/review", "SPACE_HOST": "x.hf.space"}


def passed(
    proxies: TrustedProxies, headers: dict[str, str], *, peer: str = PROXY, root_path: str = ""
) -> Scope:
    """The scope of a request after the middleware."""
    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)

    async def nothing(*message: Any) -> Any:
        """No body is read and no response sent."""

    scope: Scope = {
        "type": "http",
        "scheme": "http",
        "client": (peer, 5),
        "headers": [(b"host", b"127.0.0.1:7860")]
        + [(name.encode(), value.encode("latin-1")) for name, value in headers.items()],
    }
    run_async(Forwarding(app, proxies=proxies, root_path=root_path), scope, nothing, nothing)
    return seen[0]


ANY = TrustedProxies(any_peer=True)
NAMED = TrustedProxies([PROXY, "10.1.0.0/16", "2001:db8::1"])


@pytest.mark.parametrize(
    ("proxies", "peer", "hops", "client"),
    [
        (NAMED, PROXY, VISITOR, VISITOR),
        (NAMED, PROXY, f"{FORGED}, {VISITOR}", VISITOR),
        (NAMED, PROXY, f"{FORGED}, {VISITOR}, 10.1.2.3", VISITOR),
        (NAMED, PROXY, f"{FORGED}, 10.9.9.9, {PROXY}", "10.9.9.9"),
        (NAMED, PROXY, f"{VISITOR}:4711", VISITOR),
        (NAMED, PROXY, "2001:db8::2", "2001:db8::2"),
        (NAMED, PROXY, "[2001:db8::2]:80", "2001:db8::2"),
        (NAMED, PROXY, f"::ffff:{VISITOR}", VISITOR),
        (NAMED, "2001:0db8::0001", VISITOR, VISITOR),
        (NAMED, f"::ffff:{PROXY}", VISITOR, VISITOR),
        (NAMED, PROXY, f"{FORGED}, unknown", PROXY),
        (NAMED, PROXY, "10.1.0.1, 10.1.0.2", "10.1.0.2"),
        (NAMED, PROXY, "", PROXY),
        (NAMED, FORGED, VISITOR, FORGED),
        (TrustedProxies(), "127.0.0.1", VISITOR, "127.0.0.1"),
        (ANY, FORGED, f"1.1.1.1, {VISITOR}", VISITOR),
        (ANY, FORGED, f"{VISITOR}, 192.168.1.9", "192.168.1.9"),
    ],
)
def test_the_client_is_the_rightmost_untrusted_hop(
    proxies: TrustedProxies, peer: str, hops: str, client: str
) -> None:
    """Hops to its left may be forged; without a trusted proxy the peer is the client."""
    scope = passed(proxies, {"x-forwarded-for": hops}, peer=peer)
    assert scope["client"][0] == client


def test_untrusted_forwarding_headers_are_removed() -> None:
    """Headers of an untrusted peer are ignored, and removed from the request."""
    sent = {
        "x-forwarded-for": FORGED,
        "X-Forwarded-Proto": "https",
        "x-forwarded-host": "elsewhere.test",
        "x-forwarded-prefix": "/elsewhere",
        "x-forwarded-anything": "1",
        "forwarded": "for=1.1.1.1",
        "x-real-ip": FORGED,
        "via": "1.1 proxy",
        "x-gradio-server": "http://elsewhere.test",
        "accept": "*/*",
    }
    for proxies in (TrustedProxies(), NAMED):
        scope = passed(proxies, sent, peer=VISITOR)
        assert (scope["client"][0], scope["scheme"]) == (VISITOR, "http")
        assert scope["headers"] == [(b"host", b"127.0.0.1:7860"), (b"accept", b"*/*")]
        info = proxy_of(scope)
        assert (info.trusted, info.root_path) == (False, "")
        assert {"forwarded", "via", "x-real-ip", "x-forwarded-anything"} < set(info.headers)
        assert "x-gradio-server" not in info.headers
    assert [name for name, _ in passed(NAMED, sent)["headers"]] == [b"host", b"accept"]


@pytest.mark.parametrize(
    ("header", "value", "result"),
    [
        ("x-forwarded-proto", "https", ("https", b"127.0.0.1:7860", "")),
        ("x-forwarded-proto", "HTTPS, http", ("https", b"127.0.0.1:7860", "")),
        ("x-forwarded-proto", "javascript", ("http", b"127.0.0.1:7860", "")),
        ("x-forwarded-host", "review.test", ("http", b"review.test", "")),
        ("x-forwarded-host", "forged.test, review.test:8443", ("http", b"review.test:8443", "")),
        ("x-forwarded-host", "[2001:db8::1]:443", ("http", b"[2001:db8::1]:443", "")),
        ("x-forwarded-host", "review.test/x?", ("http", b"127.0.0.1:7860", "")),
        ("x-forwarded-prefix", "/review", ("http", b"127.0.0.1:7860", "/review")),
        ("x-forwarded-prefix", "/review/", ("http", b"127.0.0.1:7860", "/review")),
        ("x-forwarded-prefix", "/forged, /a/b", ("http", b"127.0.0.1:7860", "/a/b")),
        ("x-forwarded-prefix", "/", ("http", b"127.0.0.1:7860", "")),
        ("x-forwarded-prefix", "//elsewhere.test", ("http", b"127.0.0.1:7860", "")),
        ("x-forwarded-prefix", "/../x", ("http", b"127.0.0.1:7860", "")),
        ("x-forwarded-prefix", '/"><script>', ("http", b"127.0.0.1:7860", "")),
        ("x-forwarded-prefix", "/a\\elsewhere", ("http", b"127.0.0.1:7860", "")),
    ],
)
def test_headers_of_a_trusted_proxy_are_applied(
    header: str, value: str, result: tuple[str, bytes, str]
) -> None:
    """Scheme, host and prefix are applied; invalid values are ignored."""
    scope = passed(NAMED, {header: value})
    host = dict(scope["headers"])[b"host"]
    assert (scope["scheme"], host, proxy_of(scope).root_path) == result


def test_a_configured_root_path_takes_precedence() -> None:
    """NSFW_ROOT_PATH takes precedence over the header, and needs no trusted proxy."""
    for proxies in (TrustedProxies(), NAMED):
        scope = passed(proxies, {"x-forwarded-prefix": "/other"}, root_path="/review")
        assert proxy_of(scope).root_path == "/review"


def test_trusted_proxies_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """None by default, the configured ones, and on a Space the platform for two headers."""
    assert not trusted_proxies(settings.load()).trusts("127.0.0.1")
    for name, value in SPACE.items():
        monkeypatch.setenv(name, value)
    space = trusted_proxies(settings.load())
    assert space.trusts("10.9.8.7")
    assert space.headers == {"x-forwarded-for", "x-forwarded-proto"}
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "10.0.0.1")
    named = trusted_proxies(settings.load())
    assert named.trusts("10.0.0.1")
    assert not named.trusts("10.0.0.2")
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")
    assert trusted_proxies(settings.load()).trusts("192.0.2.1")


def test_urls_have_the_prefix_of_the_proxy(engine: Engine, store: Store, tmp_path: Path) -> None:
    """Redirects, forms, cookies and metrics use the prefix that a trusted proxy stripped."""
    chosen = {"FORWARDED_ALLOW_IPS": "127.0.0.1"}
    with open_app(engine, store, tmp_path, **chosen) as web_app:
        client = TestClient(
            web_app.client.app, base_url="http://review.test", client=("127.0.0.1", 5)
        )
        client.headers = {"x-forwarded-prefix": "/review", "accept": "text/html"}
        away = client.get("/", follow_redirects=False)
        assert away.headers["location"] == "/review/login"
        form = client.get("/login").text
        assert 'action="/review/login"' in form
        assert 'href="/review/desk/assets/shared/login.css"' in form
        right = {"username": "ann", "password": PASSWORDS["ann"]}
        back = client.post("/login", data=right, follow_redirects=False)
        assert back.headers["location"] == "/review/"
        assert "Path=/review;" in back.headers["set-cookie"] + ";"
        token = back.headers["set-cookie"].partition(";")[0]
        out = client.post("/logout", headers={"cookie": token}, follow_redirects=False)
        assert out.headers["location"] == "/review/login"
        assert "Path=/review;" in out.headers["set-cookie"] + ";"
        assert client.get("/desk/assets/", follow_redirects=False).status_code == 404
        counted = web_app.with_key(Permission.METRICS).get("/metrics").text
        assert 'route="/login"' in counted
        assert "/review" not in counted


def test_the_cookie_with_the_longest_path_counts(
    engine: Engine, store: Store, tmp_path: Path
) -> None:
    """A cookie of an installation at the host's root does not hide this one's session."""
    with open_app(engine, store, tmp_path) as web_app:
        mine = web_app.signed_in("ann").cookies["nsfw_review"]
        cookies = {"cookie": f"a=b; nsfw_review={mine}; nsfw_review=of-the-other-page"}
        assert web_app.anonymous().get("/desk/status", headers=cookies).status_code == 200
