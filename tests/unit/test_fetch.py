"""Fetching by URL: no internal address is reached, and no oversized file is read."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import anyio
import pytest

from nsfw_app.errors import ImageError, RequestError, TooManyRequests
from nsfw_app.imaging.fetch import SLOTS, SLOTS_PER_CALLER, SLOTS_PER_NETWORK, Fetcher, is_public
from tests.support.application import run_async

MAX_BYTES = 100_000
ELSEWHERE = "127.0.0.2"  # is used as an inner address; the servers of these tests are on 127.0.0.1


@dataclass
class Site:
    """A web site: the response of each path, and the requested paths."""

    port: int
    redirects: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        """The address of a path."""
        return f"http://{host}:{self.port}{path}"


@pytest.fixture
def site() -> Iterator[Site]:
    """A site on every loopback address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            running.asked.append((self.path, self.headers["host"]))
            if target := running.redirects.get(self.path):
                self.send_response(302)
                self.send_header("location", target)
                self.end_headers()
                return
            self.send_response(404 if self.path == "/missing" else 200)
            self.end_headers()
            chunks = 1_000 if self.path == "/large" else 1
            try:
                for _ in range(chunks):
                    self.wfile.write(b"x" * 1_000)
            except OSError:
                running.asked.append(("cut off", ""))

        def log_message(self, *args: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("0.0.0.0", 0), Handler)
    running = Site(server.server_port)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield running
    server.shutdown()
    server.server_close()


@pytest.fixture
def fetcher() -> Fetcher:
    """May connect to 127.0.0.1 as if it were public, and to no other address."""
    return Fetcher(max_bytes=MAX_BYTES, is_allowed=lambda address: address == "127.0.0.1")


def fetch(fetcher: Fetcher, url: str, *, name: str = "Image 1") -> bytes:
    """Fetch one URL in an event loop of its own."""
    return run_async(partial(fetcher.fetch, url, name=name, caller="ann"))


def test_a_public_image_is_fetched(fetcher: Fetcher, site: Site) -> None:
    """The bytes arrive, and the Host header has the site's own name."""
    assert fetch(fetcher, site.url("/a.png", "localhost"), name="Image 1") == b"x" * 1_000
    assert site.asked == [("/a.png", f"localhost:{site.port}")]


def test_allowed_redirects_are_followed(fetcher: Fetcher, site: Site) -> None:
    """A few redirects, relative ones too, are followed; endless ones are refused."""
    site.redirects = {"/a": "/b", "/b": site.url("/c"), "/loop": "/loop"}
    assert fetch(fetcher, site.url("/a"), name="Image 1")
    with pytest.raises(RequestError, match="redirects"):
        fetch(fetcher, site.url("/loop"), name="Image 1")


@pytest.mark.parametrize("host", [ELSEWHERE, "[::1]", "0x7f000002", "2130706434"])
def test_private_addresses_are_refused(fetcher: Fetcher, site: Site, host: str) -> None:
    """No request is sent to a private address in any notation."""
    with pytest.raises(RequestError):
        fetch(fetcher, site.url("/a.png", host), name="Image 1")
    assert site.asked == []


def test_redirects_to_private_addresses_are_refused(fetcher: Fetcher, site: Site) -> None:
    """A public site cannot redirect to a private address."""
    site.redirects = {"/a": site.url("/secret", ELSEWHERE)}
    with pytest.raises(RequestError, match="not on the public internet"):
        fetch(fetcher, site.url("/a"), name="Image 1")
    assert [path for path, _ in site.asked] == ["/a"]


def test_a_name_with_one_private_address_is_refused(
    site: Site, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name with a public and a private address is refused, after one lookup."""
    looked_up = resolve_to(monkeypatch, ["127.0.0.1", ELSEWHERE])
    with pytest.raises(RequestError, match="not on the public internet"):
        fetch(fetcher, site.url("/a.png", "mixed.test"), name="Image 1")
    assert len(looked_up) == 1
    assert site.asked == []


def resolve_to(monkeypatch: pytest.MonkeyPatch, addresses: list[str]) -> list[str]:
    """Resolve every name to these addresses; returns the names that were looked up."""
    looked_up: list[str] = []

    def lookup(host: str, *args: object, **kwargs: object) -> list[tuple]:
        looked_up.append(host)
        return [(2, 1, 6, "", (address, 0)) for address in addresses]

    monkeypatch.setattr("nsfw_app.imaging.fetch.socket.getaddrinfo", lookup)
    return looked_up


def test_oversized_response_is_not_read_to_its_end(fetcher: Fetcher, site: Site) -> None:
    """Past the limit the connection is cut."""
    with pytest.raises(ImageError, match=r"larger than the limit of 0\.1 MB") as refused:
        fetch(fetcher, site.url("/large"), name="Image 1")
    assert refused.value.kind == "too_large"


@pytest.mark.parametrize(
    "url",
    [
        "ftp://127.0.0.1/a",
        "file:///etc/passwd",
        "gopher://127.0.0.1",
        "http://",
        "http:///a",
        "//127.0.0.1/a",
        "http://nowhere.invalid/a",
        "http://[",
        "not a url",
        "http://127.0.0.1:1/closed-port",
        "http://127.0.0.1:99999/",
        "http://127.0.0.1/\ud800",
        "http://\ud800/",
    ],
)
def test_invalid_url_is_reported(fetcher: Fetcher, url: str) -> None:
    """Each invalid URL is refused with a message that names the image."""
    with pytest.raises(RequestError, match="Image 7"):
        fetch(fetcher, url, name="Image 7")


def test_other_status_is_refused(fetcher: Fetcher, site: Site) -> None:
    """A response that is not 200 is refused."""
    with pytest.raises(RequestError, match="status 404"):
        fetch(fetcher, site.url("/missing"), name="Image 1")


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("1.1.1.1", True),
        ("2606:4700:4700::1111", True),
        ("127.0.0.1", False),
        ("10.0.0.1", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("fe80::1%eth0", False),
        ("fc00::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("2002:7f00:1::", False),
        ("64:ff9b::a00:1", False),
    ],
)
def test_which_addresses_are_public(address: str, public: bool) -> None:
    """Loopback, private, link-local, shared, multicast and those wrapped in IPv6 are not."""
    assert is_public(address) is public


def test_loopback_is_refused_by_default(site: Site) -> None:
    """Without the exception for tests the machine itself is refused."""
    with pytest.raises(RequestError, match="not on the public internet"):
        fetch(Fetcher(max_bytes=MAX_BYTES), site.url("/a.png"), name="Image 1")
    assert site.asked == []


def in_pieces(connection: socket.socket, data: bytes) -> None:
    """Send one byte at a time, more often than any step's timeout, until the peer closes."""
    try:
        connection.recv(65_536)
        for byte in data:
            connection.sendall(bytes([byte]))
            time.sleep(0.02)
    except OSError:
        connection.close()


HEADERS = b"HTTP/1.1 200 OK\r\n" + b"x-a: b\r\n" * 1_000
BODY = b"HTTP/1.1 200 OK\r\ncontent-length: 10000\r\n\r\n" + b"x" * 10_000


def silent(connection: socket.socket) -> None:
    """Accept and never send a byte."""
    while connection.recv(65_536):
        continue


SLOW = {
    "headers": ("http", partial(in_pieces, data=HEADERS)),
    "body": ("http", partial(in_pieces, data=BODY)),
    "no response": ("http", silent),
    "TLS": ("https", silent),
    "TLS record": ("https", partial(in_pieces, data=b"\x16\x03\x03\x40\x00" + b"\x02" * 4_000)),
}


@contextmanager
def slow_host(behave: Callable[[socket.socket], None], *, host: str = "127.0.0.1") -> Iterator[int]:
    """A server that treats each connection like this; its port."""
    listener = socket.create_server((host, 0))

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=behave, args=[connection], daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        listener.close()


def impatient(total_s: float) -> Fetcher:
    """A fetcher with a short deadline that may connect to 127.0.0.1."""
    return Fetcher(
        max_bytes=MAX_BYTES, is_allowed=lambda address: address == "127.0.0.1", total_s=total_s
    )


@pytest.mark.parametrize(("scheme", "behave"), SLOW.values(), ids=SLOW)
def test_the_deadline_covers_the_whole_request(
    scheme: str, behave: Callable[[socket.socket], None]
) -> None:
    """Wherever a host is slow, the fetch ends at the deadline, and long before the host does."""
    with slow_host(behave) as port:
        started = time.monotonic()
        with pytest.raises(RequestError, match=r"takes more than 0\.3 s"):
            fetch(impatient(0.3), f"{scheme}://127.0.0.1:{port}/")
        assert time.monotonic() - started < 5


def test_the_deadline_covers_all_redirects(site: Site) -> None:
    """Redirects that are each within the limit do not add up to more than it."""
    with slow_host(partial(in_pieces, data=HEADERS)) as port:
        site.redirects = {"/a": "/b", "/b": f"http://127.0.0.1:{port}/"}
        with pytest.raises(RequestError, match=r"takes more than 0\.3 s"):
            fetch(impatient(0.3), site.url("/a"))
    assert [path for path, _ in site.asked] == ["/a", "/b"]


def test_the_deadline_covers_the_name_lookup(monkeypatch: pytest.MonkeyPatch) -> None:
    """A DNS server that does not respond holds no fetch longer than the deadline."""
    released = threading.Event()

    def lookup(*args: object, **kwargs: object) -> list[tuple]:
        released.wait(30)
        return []

    monkeypatch.setattr("nsfw_app.imaging.fetch.socket.getaddrinfo", lookup)

    async def measure() -> float:
        started = time.monotonic()
        with pytest.raises(RequestError, match=r"takes more than 0\.3 s"):
            await impatient(0.3).fetch("http://slow.test/", name="Image 1", caller="ann")
        took = time.monotonic() - started
        released.set()  # the event loop ends with its threads
        return took

    assert run_async(measure) < 5


def held(connections: threading.Semaphore) -> Callable[[socket.socket], None]:
    """A host that counts connections and never responds."""

    def hold(connection: socket.socket) -> None:
        connections.release()
        silent(connection)

    return hold


OTHER_NETWORK = "127.0.1.1"
LOCAL_NAMES = {f"{number}.slow.test": "127.0.0.1" for number in range(10 * SLOTS)}
LOCAL_NETWORKS = {f"{number}.many.test": f"127.1.{number}.1" for number in range(SLOTS)}


@pytest.mark.parametrize(
    ("names", "callers", "connected"),
    [
        (LOCAL_NAMES, [f"caller {n}" for n in range(10)], SLOTS_PER_NETWORK),
        (LOCAL_NETWORKS, ["ann"], SLOTS_PER_CALLER),
        (LOCAL_NETWORKS, ["ann", "bob"], 2 * SLOTS_PER_CALLER),
    ],
    ids=["one machine", "one caller", "two callers"],
)
def test_neither_a_machine_nor_a_caller_holds_all_slots(
    site: Site,
    monkeypatch: pytest.MonkeyPatch,
    names: dict[str, str],
    callers: list[str],
    connected: int,
) -> None:
    """Many names of one slow machine are one network; another caller can still fetch."""
    addresses = {**names, "fast.test": OTHER_NETWORK}
    monkeypatch.setattr(
        "nsfw_app.imaging.fetch.socket.getaddrinfo",
        lambda host, *_, **__: [(2, 1, 6, "", (addresses[host], 0))],
    )
    connections = threading.Semaphore(0)

    async def scenario(port: int) -> bytes:
        fetcher = Fetcher(max_bytes=MAX_BYTES, is_allowed=lambda _: True, total_s=30)
        async with anyio.create_task_group() as group:
            for number, name in enumerate(names):
                url, caller = f"http://{name}:{port}/", callers[number % len(callers)]
                group.start_soon(partial(fetcher.fetch, url, name="slow", caller=caller))
            for _ in range(connected):
                await anyio.to_thread.run_sync(connections.acquire)
            url = f"http://fast.test:{site.port}/a.png"
            data = await fetcher.fetch(url, name="fast", caller="zoe")
            assert not connections.acquire(blocking=False)  # no further slot was given
            group.cancel_scope.cancel()
        return data

    with slow_host(held(connections), host="0.0.0.0") as port:
        assert run_async(scenario, port) == b"x" * 1_000


def test_lookups_that_do_not_end_count_for_their_caller(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS lookups of one caller that do not end are limited; others are served."""
    released, started = threading.Event(), threading.Semaphore(0)

    def lookup(host: str, *args: object, **kwargs: object) -> list[tuple]:
        if host == "slow.test":
            started.release()
            released.wait(30)
        return [(2, 1, 6, "", ("127.0.0.1", 0))]

    monkeypatch.setattr("nsfw_app.imaging.fetch.socket.getaddrinfo", lookup)

    async def scenario() -> bytes:
        fetcher = impatient(0.5)

        async def give_up() -> None:
            with pytest.raises((RequestError, TooManyRequests)):
                await fetcher.fetch("http://slow.test/", name="slow", caller="ann")

        for _ in range(2):
            async with anyio.create_task_group() as group:
                for _ in range(2 * SLOTS):
                    group.start_soon(give_up)
        with pytest.raises(TooManyRequests, match="DNS lookups"):
            await fetcher.fetch(site.url("/a.png", "fast.test"), name="fast", caller="ann")
        data = await fetcher.fetch(site.url("/a.png", "fast.test"), name="fast", caller="bob")
        released.set()
        return data

    assert run_async(scenario) == b"x" * 1_000
    assert sum(started.acquire(blocking=False) for _ in range(99)) == SLOTS_PER_CALLER


@pytest.mark.parametrize(
    "address",
    ["64:ff9b:1::a00:1", "fec0::1", "::127.0.0.1", "::ffff:0:10.0.0.1", "64:ff9b::7f00:1"],
)
def test_addresses_that_translate_to_private_ones_are_refused(address: str) -> None:
    """Translated, formerly local, and compatible addresses are not the public internet."""
    assert not is_public(address)
