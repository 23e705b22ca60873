"""Cross-site request forgery: which writes are rejected, with which message."""

import pytest
from starlette.requests import HTTPConnection

from nsfw_app.errors import Forbidden
from nsfw_app.web.auth.origin import check_origin
from nsfw_app.web.http.forwarding import ProxyInfo


def connection(
    host: str = "review.test",
    scheme: str = "http",
    proxy: ProxyInfo | None = None,
    **headers: str,
) -> HTTPConnection:
    """A POST request with these headers."""
    sent = {"host": host, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return HTTPConnection(
        {
            "type": "http",
            "scheme": scheme,
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in sent.items()],
            "state": {"proxy": proxy or ProxyInfo()},
        }
    )


@pytest.mark.parametrize(
    ("host", "scheme", "headers"),
    [
        ("review.test", "http", {}),
        ("review.test", "http", {"origin": "http://review.test"}),
        ("review.test:80", "http", {"origin": "http://review.test"}),
        ("review.test", "http", {"origin": "http://review.test:80"}),
        ("Review.Test", "https", {"origin": "https://review.test:443"}),
        ("review.test:443", "https", {"origin": "https://review.test"}),
        ("[::1]:7860", "http", {"origin": "http://[::1]:7860"}),
        ("127.0.0.1:7860", "http", {"origin": "https://r.test", "sec_fetch_site": "same-origin"}),
        ("review.test", "http", {"sec_fetch_site": "none"}),
    ],
)
def test_the_pages_own_writes_pass(host: str, scheme: str, headers: dict[str, str]) -> None:
    """Sec-Fetch-Site decides; without it the Origin must equal the address, with default ports."""
    check_origin(connection(host, scheme, **headers))


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://review.test"},
        {"origin": "http://review.test:8080"},
        {"origin": "http://elsewhere.test"},
        {"origin": "http://review.test.elsewhere.test"},
        {"origin": "http://review.test@elsewhere.test"},
        {"origin": "null"},
        {"origin": ""},
        {"origin": "http://["},
        {"origin": "http://review.test:port"},
        {"origin": "http://review.test:99999"},
        {"origin": "file://"},
        {"origin": "\xff\xfe"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site", "origin": "http://review.test"},
    ],
)
def test_cross_site_writes_are_rejected(headers: dict[str, str]) -> None:
    """Another scheme, port, host or site, and invalid origins, are rejected."""
    with pytest.raises(Forbidden, match="Cross-site writes are rejected"):
        check_origin(connection(**headers))


@pytest.mark.parametrize(
    ("host", "origin", "proxy", "advice"),
    [
        ("127.0.0.1:7860", "http://r.test", ProxyInfo(), "must pass the visitor's Host header on"),
        ("r.test", "https://r.test", ProxyInfo(), "it must send X-Forwarded-Proto: https"),
        (
            "127.0.0.1:7860",
            "https://r.test",
            ProxyInfo(headers=("x-forwarded-host",)),
            "(x-forwarded-host) were ignored: add its address to FORWARDED_ALLOW_IPS",
        ),
    ],
)
def test_the_message_has_what_to_configure(
    host: str, origin: str, proxy: ProxyInfo, advice: str
) -> None:
    """The message has both addresses and the header that is missing or ignored."""
    with pytest.raises(Forbidden) as refused:
        check_origin(connection(host, proxy=proxy, origin=origin))
    for part in (origin, f"http://{host}", advice):
        assert part in str(refused.value)
