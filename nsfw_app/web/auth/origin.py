"""Protection against cross-site request forgery (CSRF) by fetch metadata headers.

- `Sec-Fetch-Site` is set by the browser and does not depend on the Host that a proxy forwards.
- Browsers omit it on addresses without HTTPS; there the Origin must equal the request's address.
- Programs send neither header.

Source: OWASP, Cross-Site Request Forgery Prevention Cheat Sheet, "Fetch Metadata headers".
"""

from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from nsfw_app.errors import Forbidden
from nsfw_app.web.http.forwarding import HOST, PROTO, proxy_of

OWN_SITES = frozenset({"same-origin", "none"})  # none: address bar or bookmark
DEFAULT_PORTS = {"http": 80, "https": 443}

Origin = tuple[str, str, int]


def check_origin(connection: HTTPConnection) -> None:
    """Reject a cross-site write.

    Raises:
        Forbidden: The request is from another site, or its Origin differs from its address; the
            message names the header and what to configure.
    """
    site = connection.headers.get("sec-fetch-site")
    if site in OWN_SITES:
        return
    if site is not None:
        raise Forbidden(f"Cross-site writes are rejected (Sec-Fetch-Site: {site}).")
    sent = connection.headers.get("origin")
    if sent is None:
        return
    origin = parse_origin(sent)
    if origin is None:
        raise Forbidden(f"Cross-site writes are rejected: {sent!r} is not a valid Origin.")
    host = connection.headers.get("host", "")
    scheme = connection.scope["scheme"]
    if origin == parse_origin(f"{scheme}://{host}"):
        return
    raise Forbidden(
        f"Cross-site writes are rejected: the Origin is {sent}, but the request arrived as "
        f"{scheme}://{host}. {_advice(connection, origin, scheme)}"
    )


def parse_origin(text: str) -> Origin | None:
    """Parse `scheme://host[:port]`: scheme, host and port, in lower case, with default ports.

    Returns None if the text is not an origin.
    """
    try:
        parts = urlsplit(text)
        port = parts.port or DEFAULT_PORTS[parts.scheme]
    except (ValueError, KeyError):  # KeyError: neither http nor https
        return None
    return (parts.scheme, parts.hostname, port) if parts.hostname else None


def _advice(connection: HTTPConnection, origin: Origin, scheme: str) -> str:
    """What to configure if the page is behind a reverse proxy."""
    proxy = proxy_of(connection.scope)
    if proxy.headers and not proxy.trusted:
        return (
            f"The proxy's headers ({', '.join(proxy.headers)}) were ignored: add its address to "
            "FORWARDED_ALLOW_IPS."
        )
    if origin[0] != scheme:
        return (
            f"If a proxy in front speaks {origin[0].upper()}, it must send {PROTO.title()}: "
            f"{origin[0]}, and its address must be named in FORWARDED_ALLOW_IPS."
        )
    return (
        "If a proxy is in front, it must pass the visitor's Host header on, or send it as "
        f"{HOST.title()} with its address named in FORWARDED_ALLOW_IPS."
    )
