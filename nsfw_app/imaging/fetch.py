"""Fetches an image from a URL in a request, protected against server-side request forgery.

Invariants:
- A host is resolved once, all its addresses must be public, and the connection goes to one of
  them, so that neither a redirect nor a changed DNS record leads to an internal address.
- One deadline covers everything: waiting for a slot, DNS, connecting, TLS, headers, body and
  redirects. It cancels the request wherever it is, also while a host sends single header bytes.
- Callers share the slots: each has a few, for fetches and for DNS lookups, which cannot be
  interrupted and count until they end. So has each network, under any host name: neither a slow
  machine nor one caller delays the others.
- Nothing is read past the size limit.
"""

import ipaddress
import math
import socket
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import anyio.to_thread
import httpx2

from nsfw_app.errors import ImageError, ImageErrorKind, RequestError, TooManyRequests

STEP_S = 10.0  # each of connecting, TLS, and waiting for the next bytes
TOTAL_S = 30.0
MAX_REDIRECTS = 3
SLOTS = 16  # fetches at once; each may hold one file in memory
SLOTS_PER_NETWORK = 4
SLOTS_PER_CALLER = 4
NETWORK_BITS = {4: 24, 6: 48}  # prefix length by IP version: what one site is usually assigned
RETRY_AFTER_S = 30  # resolvers give up after about this time
SCHEMES = frozenset({"http", "https"})
MAX_PORT = 65_535
# A lone surrogate in a path is a ValueError.
INVALID = (httpx2.HTTPError, httpx2.InvalidURL, ValueError)

NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052: an IPv4 address in the last 32 bits
# Local uses of translation, and what once was local, which Python does not know as private.
NOT_PUBLIC = tuple(
    map(ipaddress.ip_network, ("64:ff9b:1::/48", "fec0::/10", "::/96", "::ffff:0:0:0/96"))
)


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet, and every one wrapped in it too."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if any(ip in network for network in NOT_PUBLIC):
        return False
    return all(one.is_global and not one.is_multicast for one in (ip, *_wrapped(ip)))


def _wrapped(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> list[ipaddress.IPv4Address]:
    """The IPv4 addresses that an IPv6 address leads to."""
    if isinstance(ip, ipaddress.IPv4Address):
        return []
    found = [ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ())]
    if ip in NAT64:
        found.append(ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF))
    return [one for one in found if one is not None]


class Fetcher:
    """Downloads files by URL, in one event loop.

    Args:
        max_bytes: The largest file, in bytes.
        is_allowed: Which IP addresses may be connected to.
        total_s: Seconds for one file, from the call to its last byte.
    """

    def __init__(
        self,
        *,
        max_bytes: int,
        is_allowed: Callable[[str], bool] = is_public,
        total_s: float = TOTAL_S,
    ) -> None:
        self._max_bytes = max_bytes
        self._is_allowed = is_allowed
        self._total_s = total_s
        self._tls = httpx2.create_ssl_context(trust_env=False)
        self._callers = _Slots(SLOTS_PER_CALLER)
        self._networks = _Slots(SLOTS_PER_NETWORK, total=SLOTS)
        # A lookup cannot be interrupted: one that is given up ends later, in its own thread.
        self._lookups = anyio.CapacityLimiter(SLOTS)
        self._running_lookups: Counter[str] = Counter()  # by caller
        self._lock = threading.Lock()

    async def fetch(self, url: str, *, name: str, caller: str) -> bytes:
        """Download a file.

        Args:
            url: http or https.
            name: What to call the image in a message.
            caller: Whose share of the slots is used.

        Raises:
            TooManyRequests: Lookups of this caller that were given up are still running.
            RequestError: It is not a URL, resolves to a private address, takes too long, or is
                does not return status 200.
            ImageError: The file is larger than `max_bytes`.
        """
        try:
            with anyio.fail_after(self._total_s):
                async with self._callers.slot(caller):
                    return await self._follow(httpx2.URL(url), name, caller)
        except httpx2.TimeoutException:
            raise RequestError(
                f"{name} cannot be fetched: the host does not respond for {STEP_S:g} s."
            ) from None
        except INVALID as error:
            raise RequestError(f"{name} cannot be fetched: {error}") from error
        except TimeoutError:
            raise RequestError(
                f"{name} cannot be fetched: it takes more than {self._total_s:g} s."
            ) from None

    async def _follow(self, url: httpx2.URL, name: str, caller: str) -> bytes:
        for _ in range(MAX_REDIRECTS + 1):
            if url.scheme not in SCHEMES or not url.host:
                raise RequestError(f"{name} has a URL that is neither http nor https.")
            if url.port is not None and url.port > MAX_PORT:
                raise RequestError(f"{name} has a URL with port {url.port}, above {MAX_PORT}.")
            address = await self._address(url.host, name, caller)
            # No connection is kept: one to the same address may belong to another host.
            async with (
                self._networks.slot(_network(address)),
                httpx2.AsyncClient(
                    verify=self._tls, timeout=STEP_S, follow_redirects=False, trust_env=False
                ) as client,
                client.stream(
                    "GET",
                    url.copy_with(host=address, userinfo=b""),
                    headers={
                        "host": url.netloc.decode("ascii"),
                        "accept-encoding": "identity",
                    },
                    extensions={"sni_hostname": url.host},
                ) as response,
            ):
                if not response.has_redirect_location:
                    return await self._read(response, name)
                url = url.join(response.headers["location"])
        raise RequestError(f"{name} cannot be fetched: more than {MAX_REDIRECTS} redirects.")

    async def _address(self, host: str, name: str, caller: str) -> str:
        if self._running_lookups[caller] >= SLOTS_PER_CALLER:
            raise TooManyRequests(
                f"{name} cannot be fetched: {SLOTS_PER_CALLER} DNS lookups for you have not "
                f"ended. Try again in {RETRY_AFTER_S} seconds.",
                retry_after_s=RETRY_AFTER_S,
            )
        lookup = partial(self._lookup, host, caller)
        try:
            found = await anyio.to_thread.run_sync(
                lookup, limiter=self._lookups, abandon_on_cancel=True
            )
        except (OSError, UnicodeError):
            raise RequestError(f"{name} cannot be fetched: {host} is not known.") from None
        addresses = [str(entry[4][0]) for entry in found]
        if not all(map(self._is_allowed, addresses)):
            raise RequestError(f"{name} cannot be fetched: {host} is not on the public internet.")
        return addresses[0]

    def _lookup(self, host: str, caller: str) -> list[Any]:
        with self._lock:
            self._running_lookups[caller] += 1
        try:
            return socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        finally:
            with self._lock:
                self._running_lookups[caller] -= 1
                if not self._running_lookups[caller]:
                    del self._running_lookups[caller]

    async def _read(self, response: httpx2.Response, name: str) -> bytes:
        if response.status_code != httpx2.codes.OK:
            raise RequestError(f"{name} cannot be fetched: status {response.status_code}.")
        data = bytearray()
        async for chunk in response.aiter_raw():
            data += chunk
            if len(data) > self._max_bytes:
                raise ImageError(
                    ImageErrorKind.TOO_LARGE,
                    f"{name} is larger than the limit of {self._max_bytes / 1e6:g} MB.",
                )
        return bytes(data)


def _network(address: str) -> str:
    """The network that an IP address belongs to."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    return str(ipaddress.ip_network((ip, NETWORK_BITS[ip.version]), strict=False))


class _Slots:
    """Limits on concurrent fetches, per key and in all."""

    def __init__(self, per_key: int, *, total: float = math.inf) -> None:
        self._per_key = per_key
        self._total = total
        self._in_use: Counter[str] = Counter()
        self._changed = anyio.Condition()

    @asynccontextmanager
    async def slot(self, key: str) -> AsyncIterator[None]:
        """Hold one slot of a key; waits until one is free."""
        async with self._changed:
            while self._in_use[key] >= self._per_key or self._in_use.total() >= self._total:
                await self._changed.wait()
            self._in_use[key] += 1
        try:
            yield
        finally:
            with anyio.CancelScope(shield=True):
                async with self._changed:
                    self._in_use[key] -= 1
                    if not self._in_use[key]:
                        del self._in_use[key]
                    self._changed.notify_all()
