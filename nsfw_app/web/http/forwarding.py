"""Reverse proxies: applies and removes forwarding headers.

- Forwarding headers are read here only. They are trusted only if the connection comes from a
  trusted proxy, and always removed, so that neither Gradio nor a route acts on a client's header.
- The client is the rightmost hop of `X-Forwarded-For` that is not a trusted proxy. Every hop to the
  left of it may have been written by the client.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from nsfw_app.settings import Settings
from nsfw_app.settings.network import ANY_PROXY, ROOT_PATH

FOR, PROTO = "x-forwarded-for", "x-forwarded-proto"
HOST, PREFIX = "x-forwarded-host", "x-forwarded-prefix"
# Headers that common proxies and platforms add; each is a sign that a request was forwarded.
SINGLE_HEADERS = frozenset(
    """forwarded via x-forwarded x-real-ip x-client-ip x-cluster-client-ip x-original-host
    x-original-for x-original-url x-rewrite-url x-scheme x-script-name front-end-https
    true-client-ip fastly-client-ip fly-client-ip do-connecting-ip x-appengine-user-ip
    x-proxyuser-ip x-remote-ip x-remote-addr wl-proxy-client-ip proxy-client-ip cdn-loop
    client-ip""".split()
)
# And every header of these proxies and platforms.
HEADER_FAMILIES = (
    "x-forwarded-",
    "cf-",
    "x-envoy-",
    "x-azure-",
    "x-amzn-",
    "x-amz-cf-",
    "x-vercel-",
    "fly-",
    "akamai-",
    "x-akamai-",
    "x-arr-",
    "x-nf-",
    "x-cloud-trace-",
)
GRADIO_SERVER = "x-gradio-server"  # Gradio's own; a client could set the page's address with it
HOST_VALUE = re.compile(r"([A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:\d{1,5})?")
# A Space is reached through its platform's proxies, which are on networks like these.
PRIVATE_NETWORKS = (
    *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8"),
    *("169.254.0.0/16", "fc00::/7", "fe80::/10", "::1/128"),
)


@dataclass(frozen=True, slots=True)
class ProxyInfo:
    """How a request reached this server.

    Attributes:
        headers: Names of the forwarding headers of the request.
        trusted: Whether they were trusted.
        root_path: The path prefix that the proxy strips: `/review`, or empty.
    """

    headers: tuple[str, ...] = ()
    trusted: bool = False
    root_path: str = ""


class TrustedProxies:
    """The proxies whose forwarding headers are trusted.

    Args:
        networks: IP addresses and networks of proxies.
        any_peer: Whether every peer is a trusted proxy, because only the proxy can connect.
        headers: The headers that are trusted.
    """

    def __init__(
        self,
        networks: Sequence[str] = (),
        *,
        any_peer: bool = False,
        headers: Sequence[str] = (FOR, PROTO, HOST, PREFIX),
    ) -> None:
        self._networks: list[IPv4Network | IPv6Network] = [ip_network(one) for one in networks]
        self._any_peer = any_peer
        self.headers = frozenset(headers)

    def trusts(self, peer: str) -> bool:
        """Whether the peer of the connection is a trusted proxy."""
        return self._any_peer or self._named(_ip(peer))

    def client(self, peer: str, hops: Sequence[str]) -> str:
        """The address of the client behind a trusted peer.

        Args:
            peer: The trusted proxy that is connected.
            hops: The entries of `X-Forwarded-For`, from left to right.

        Returns:
            The rightmost hop that is not a named proxy; the rightmost one if all are; the peer's
            address if there is no hop, or that hop is not an IP address.
        """
        addresses = [_ip(hop) for hop in hops]
        outside = [one for one in addresses if not self._named(one)]
        found = (outside or addresses or [None])[-1]
        return peer if found is None else str(found)

    def _named(self, address: IPv4Address | IPv6Address | None) -> bool:
        return address is not None and any(address in network for network in self._networks)


def trusted_proxies(settings: Settings) -> TrustedProxies:
    """The trusted proxies of the settings; on a Space by default the platform's."""
    named = settings.forwarded_allow_ips
    if not named and settings.on_space:
        # The platform forwards the client address and scheme, not the page's host or prefix.
        return TrustedProxies(PRIVATE_NETWORKS, any_peer=True, headers=(FOR, PROTO))
    return TrustedProxies([one for one in named if one != ANY_PROXY], any_peer=ANY_PROXY in named)


class Forwarding:
    """ASGI middleware: applies the headers of trusted proxies, and removes all.

    Args:
        app: The next application.
        proxies: The trusted proxies.
        root_path: The configured path prefix; takes precedence over a proxy's header.
    """

    def __init__(self, app: ASGIApp, *, proxies: TrustedProxies, root_path: str) -> None:
        self._app = app
        self._proxies = proxies
        self._root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request as the client sent it to the proxy."""
        if scope["type"] == "http":
            self._apply(scope)
        await self._app(scope, receive, send)

    def _apply(self, scope: Scope) -> None:
        sent: dict[str, list[str]] = {}
        kept: list[tuple[bytes, bytes]] = []
        for raw_name, value in scope["headers"]:
            name = raw_name.decode("latin-1").lower()
            if _is_forwarding(name):
                parts = [part.strip() for part in value.decode("latin-1").split(",")]
                sent.setdefault(name, []).extend(parts)
            elif name != GRADIO_SERVER:
                kept.append((raw_name, value))
        peer = scope["client"][0] if scope.get("client") else ""
        trusted = self._proxies.trusts(peer)
        trusted_headers = {k: v for k, v in sent.items() if trusted and k in self._proxies.headers}
        if hops := trusted_headers.get(FOR):
            scope["client"] = (self._proxies.client(peer, hops), 0)
        # Each proxy adds its own view on the right. The first one saw what the client used.
        if (scheme := trusted_headers.get(PROTO, [""])[0].lower()) in {"http", "https"}:
            scope["scheme"] = scheme
        if HOST_VALUE.fullmatch(host := trusted_headers.get(HOST, [""])[-1]):
            kept = [(b"host", host.encode()), *(h for h in kept if h[0].lower() != b"host")]
        prefix = trusted_headers.get(PREFIX, [""])[-1].rstrip("/")
        scope["headers"] = kept
        scope.setdefault("state", {})["proxy"] = ProxyInfo(
            headers=tuple(sorted(sent)),
            trusted=trusted,
            root_path=self._root_path or (prefix if re.fullmatch(ROOT_PATH, prefix) else ""),
        )


class RootPath:
    """ASGI middleware: restores the path prefix that a proxy stripped.

    It comes last, so that all checks before it see paths without the prefix. Starlette and Gradio
    need it in `root_path` and `path` to build URLs.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        root_path = proxy_of(scope).root_path if scope["type"] == "http" else ""
        if root_path:  # in place: outer middleware reads the route from it
            scope["root_path"] = root_path
            scope["path"] = root_path + scope["path"]
            scope["raw_path"] = root_path.encode() + scope.get("raw_path", b"")
        await self._app(scope, receive, send)


def proxy_of(scope: Scope) -> ProxyInfo:
    """How a request reached this server."""
    info: ProxyInfo = scope.get("state", {}).get("proxy", ProxyInfo())
    return info


def root_path_of(connection: HTTPConnection) -> str:
    """The path prefix of the page's public address, without a trailing slash."""
    return proxy_of(connection.scope).root_path


def client_address(connection: HTTPConnection) -> str:
    """The IP address of the client, as reported by trusted proxies."""
    return connection.client.host if connection.client else ""


def _is_forwarding(name: str) -> bool:
    return name.startswith(HEADER_FAMILIES) or name in SINGLE_HEADERS


def _ip(text: str) -> IPv4Address | IPv6Address | None:
    """Parse `1.2.3.4`, `1.2.3.4:5`, `::1` or `[::1]:5`; None if it is not an IP address."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
