"""Fetches an image from a URL that somebody else wrote.

What always holds: a host's addresses are looked up once, all must be of the public internet, and
the connection goes to one of them, so that neither a redirect nor a name that changes its mind
leads inside; nothing is read past the limit.
"""

import ipaddress
import socket
import time
from collections.abc import Callable

import httpx2

from nsfw_app.errors import ImageError, ImageErrorKind, RequestError

TIMEOUT_S = 10.0  # for each step
TOTAL_S = 30.0  # for all of it
MAX_REDIRECTS = 3
SCHEMES = frozenset({"http", "https"})


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
    """Gets files by URL.

    Args:
        max_bytes: The largest file.
        is_allowed: Which IP addresses may be spoken to.
    """

    def __init__(self, *, max_bytes: int, is_allowed: Callable[[str], bool] = is_public) -> None:
        self._max_bytes = max_bytes
        self._is_allowed = is_allowed
        self._client = httpx2.Client(timeout=TIMEOUT_S, follow_redirects=False, trust_env=False)

    def fetch(self, url: str, *, name: str) -> bytes:
        """The bytes behind a URL.

        Args:
            url: http or https.
            name: What to call the image in a message.

        Raises:
            RequestError: It is no URL, leads to a private address, or does not answer with 200.
            ImageError: There is more than `max_bytes`.
        """
        try:
            target, end = httpx2.URL(url), time.monotonic() + TOTAL_S
            for _ in range(MAX_REDIRECTS + 1):
                response = self._ask(target, name)
                try:
                    if not response.has_redirect_location:
                        return self._read(response, name, end)
                    target = target.join(response.headers["location"])
                finally:
                    response.close()
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise RequestError(f"{name} cannot be fetched: {error}") from error
        raise RequestError(f"{name} cannot be fetched: more than {MAX_REDIRECTS} redirects.")

    def _ask(self, url: httpx2.URL, name: str) -> httpx2.Response:
        if url.scheme not in SCHEMES or not url.host:
            raise RequestError(f"{name} has a URL that is neither http nor https.")
        request = self._client.build_request(
            "GET",
            url.copy_with(host=self._address(url.host, name), userinfo=b""),
            headers={"host": url.netloc.decode("ascii"), "accept-encoding": "identity"},
            extensions={"sni_hostname": url.host},
        )
        return self._client.send(request, stream=True)

    def _address(self, host: str, name: str) -> str:
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise RequestError(f"{name} cannot be fetched: {host} is not known.") from None
        addresses = [str(entry[4][0]) for entry in found]
        if not all(map(self._is_allowed, addresses)):
            raise RequestError(f"{name} cannot be fetched: {host} is not on the public internet.")
        return addresses[0]

    def _read(self, response: httpx2.Response, name: str, end: float) -> bytes:
        if response.status_code != httpx2.codes.OK:
            raise RequestError(f"{name} cannot be fetched: status {response.status_code}.")
        data = bytearray()
        for chunk in response.iter_raw():
            data += chunk
            if time.monotonic() > end:
                raise RequestError(f"{name} cannot be fetched: it takes more than {TOTAL_S:g} s.")
            if len(data) > self._max_bytes:
                raise ImageError(
                    ImageErrorKind.TOO_LARGE,
                    f"{name} is larger than the limit of {self._max_bytes / 1e6:g} MB.",
                )
        return bytes(data)
