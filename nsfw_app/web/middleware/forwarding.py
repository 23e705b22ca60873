"""Reverse proxies: which forwarding headers are believed, and what they say about a request.

Invariants:
- Forwarding headers are read here and nowhere else. They are believed only if the connection comes
  from a trusted proxy, and removed in any case, so that nothing further in, Gradio included, acts
  on a header that a visitor wrote.
- The client is the rightmost hop of `X-Forwarded-For` that is not a trusted proxy. Every hop to the
  left of it may have been written by the client.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from nsfw_app.settings import ANY_PROXY, ROOT_PATH, Settings

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
GRADIO_SERVER = "x-gradio-server"  # Gradio's own, by which anyone may choose the page's address
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
        headers: Names of the forwarding headers that came with it.
        trusted: Whether they were believed.
        root_path: The prefix of the page's public address that the proxy strips: `/review`, or
            empty.
    """

    headers: tuple[str, ...] = ()
    trusted: bool = False
    root_path: str = ""


class TrustedProxies:
    """The proxies whose forwarding headers are believed.

    Args:
        networks: IP addresses and networks of proxies.
        any_peer: Whether every peer is a trusted proxy, because nothing else can connect.
        headers: Which headers they are believed.
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
        """Whether the address at the other end of the connection is a trusted proxy."""
        return self._any_peer or self._named(_ip(peer))

    def client(self, peer: str, hops: Sequence[str]) -> str:
        """The address of the client behind a trusted peer.

        Args:
            peer: The trusted proxy that is connected.
            hops: The entries of `X-Forwarded-For`, from left to right.

        Returns:
            The rightmost hop that is not a named proxy; the rightmost one if all are; the peer's
            address where there is none, or where that hop is not an IP address.
        """
        addresses = [_ip(hop) for hop in hops]
        outside = [one for one in addresses if not self._named(one)]
        found = (outside or addresses or [None])[-1]
        return peer if found is None else str(found)

    def _named(self, address: IPv4Address | IPv6Address | None) -> bool:
        return address is not None and any(address in network for network in self._networks)


def trusted_proxies(settings: Settings) -> TrustedProxies:
    """The proxies that the settings trust: those that are named, on a Space the platform's."""
    named = settings.forwarded_allow_ips
    if not named and settings.on_space:
        # The platform says for whom it asks; it takes no part in how the page is addressed.
        return TrustedProxies(PRIVATE_NETWORKS, any_peer=True, headers=(FOR, PROTO))
    return TrustedProxies([one for one in named if one != ANY_PROXY], any_peer=ANY_PROXY in named)


class Forwarding:
    """ASGI middleware: applies the headers of trusted proxies, and removes everyone's.

    Args:
        app: What follows.
        proxies: Whose headers are believed.
        root_path: The prefix of the page's public address, where it is set; it is preferred to
            what a proxy says.
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
        believed = {k: v for k, v in sent.items() if trusted and k in self._proxies.headers}
        if hops := believed.get(FOR):
            scope["client"] = (self._proxies.client(peer, hops), 0)
        # Each proxy adds its own view on the right. The first one saw what the client used.
        if (scheme := believed.get(PROTO, [""])[0].lower()) in {"http", "https"}:
            scope["scheme"] = scheme
        if HOST_VALUE.fullmatch(host := believed.get(HOST, [""])[-1]):
            kept = [(b"host", host.encode()), *(h for h in kept if h[0].lower() != b"host")]
        prefix = believed.get(PREFIX, [""])[-1].rstrip("/")
        scope["headers"] = kept
        scope.setdefault("state", {})["proxy"] = ProxyInfo(
            headers=tuple(sorted(sent)),
            trusted=trusted,
            root_path=self._root_path or (prefix if re.fullmatch(ROOT_PATH, prefix) else ""),
        )


class RootPath:
    """ASGI middleware: puts the prefix that a proxy stripped before a request's path again.

    It comes last, so that all checks before it see paths as they are without a proxy. Starlette
    and Gradio need the prefix in `root_path` and `path` to make addresses that lead back.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        root_path = proxy_of(scope).root_path if scope["type"] == "http" else ""
        if root_path:  # changed in place, because middleware further out reads the route from it
            scope["root_path"] = root_path
            scope["path"] = root_path + scope["path"]
            scope["raw_path"] = root_path.encode() + scope.get("raw_path", b"")
        await self._app(scope, receive, send)


def proxy_of(scope: Scope) -> ProxyInfo:
    """How a request reached this server."""
    info: ProxyInfo = scope.get("state", {}).get("proxy", ProxyInfo())
    return info


def root_path_of(connection: HTTPConnection) -> str:
    """The prefix of the page's public address, without a slash at its end."""
    return proxy_of(connection.scope).root_path


def client_address(connection: HTTPConnection) -> str:
    """The IP address of the client, as far as trusted proxies say it."""
    return connection.client.host if connection.client else ""


def _is_forwarding(name: str) -> bool:
    return name.startswith(HEADER_FAMILIES) or name in SINGLE_HEADERS


def _ip(text: str) -> IPv4Address | IPv6Address | None:
    """The IP address in `1.2.3.4`, `1.2.3.4:5`, `::1` or `[::1]:5`; None where there is none."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
