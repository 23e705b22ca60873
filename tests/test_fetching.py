"""Fetching by URL: nothing inside is reached, and nothing large is read."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from nsfw_app.errors import ImageError, RequestError
from nsfw_app.fetching import Fetcher, is_public

MAX_BYTES = 100_000
ELSEWHERE = "127.0.0.2"  # stands for an inner address; the servers of these tests are on 127.0.0.1


@dataclass
class Site:
    """A web site: where each path leads, and which were asked for."""

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
            chunks = {"/large": 1_000, "/slow": 50}.get(self.path, 1)
            try:
                for _ in range(chunks):
                    if self.path == "/slow":
                        time.sleep(0.05)
                    self.wfile.write(b"x" * 1_000)
            except OSError:
                running.asked.append(("cut off", ""))

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("0.0.0.0", 0), Handler)
    running = Site(server.server_port)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield running
    server.shutdown()
    server.server_close()


@pytest.fixture
def fetcher() -> Fetcher:
    """May speak to 127.0.0.1 as if that were the public internet, and to nothing else."""
    return Fetcher(max_bytes=MAX_BYTES, is_allowed=lambda address: address == "127.0.0.1")


def test_a_public_image_is_fetched(fetcher: Fetcher, site: Site) -> None:
    """The bytes arrive, and the site is asked under its own name."""
    assert fetcher.fetch(site.url("/a.png", "localhost"), name="Image 1") == b"x" * 1_000
    assert site.asked == [("/a.png", f"localhost:{site.port}")]


def test_redirects_are_followed_where_they_may_be(fetcher: Fetcher, site: Site) -> None:
    """A short chain of public addresses is fine, a relative one too; an endless one is not."""
    site.redirects = {"/a": "/b", "/b": site.url("/c"), "/loop": "/loop"}
    assert fetcher.fetch(site.url("/a"), name="Image 1")
    with pytest.raises(RequestError, match="redirects"):
        fetcher.fetch(site.url("/loop"), name="Image 1")


@pytest.mark.parametrize("host", [ELSEWHERE, "[::1]", "0x7f000002", "2130706434"])
def test_private_addresses_are_refused(fetcher: Fetcher, site: Site, host: str) -> None:
    """However an inner address is written, nothing is sent to it."""
    with pytest.raises(RequestError):
        fetcher.fetch(site.url("/a.png", host), name="Image 1")
    assert site.asked == []


def test_redirects_to_private_addresses_are_refused(fetcher: Fetcher, site: Site) -> None:
    """A public site cannot lead inside."""
    site.redirects = {"/a": site.url("/secret", ELSEWHERE)}
    with pytest.raises(RequestError, match="not on the public internet"):
        fetcher.fetch(site.url("/a"), name="Image 1")
    assert [path for path, _ in site.asked] == ["/a"]


def test_a_name_with_one_private_address_is_refused(
    site: Site, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that resolves outside and inside is refused, and is looked up once only."""
    looked_up = answers(monkeypatch, ["127.0.0.1", ELSEWHERE])
    with pytest.raises(RequestError, match="not on the public internet"):
        fetcher.fetch(site.url("/a.png", "mixed.test"), name="Image 1")
    assert len(looked_up) == 1
    assert site.asked == []


def answers(monkeypatch: pytest.MonkeyPatch, addresses: list[str]) -> list[str]:
    """Let every name have these addresses; the names that were looked up."""
    looked_up: list[str] = []

    def lookup(host: str, *args: object, **kwargs: object) -> list[tuple]:
        looked_up.append(host)
        return [(2, 1, 6, "", (address, 0)) for address in addresses]

    monkeypatch.setattr("nsfw_app.fetching.socket.getaddrinfo", lookup)
    return looked_up


def test_what_is_too_large_is_not_read_to_its_end(fetcher: Fetcher, site: Site) -> None:
    """Past the limit the connection is cut."""
    with pytest.raises(ImageError, match=r"larger than the limit of 0\.1 MB") as refused:
        fetcher.fetch(site.url("/large"), name="Image 1")
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
        "http://127.0.0.1:1/nobody-listens",
    ],
)
def test_what_cannot_be_fetched_is_said(fetcher: Fetcher, url: str) -> None:
    """Each wrong address is refused in words that name the image."""
    with pytest.raises(RequestError, match="Image 7"):
        fetcher.fetch(url, name="Image 7")


def test_another_status_is_no_image(fetcher: Fetcher, site: Site) -> None:
    """What is not there is refused."""
    with pytest.raises(RequestError, match="status 404"):
        fetcher.fetch(site.url("/missing"), name="Image 1")


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


def test_the_default_reaches_nothing_here(site: Site) -> None:
    """Without an exception for tests this machine is refused."""
    with pytest.raises(RequestError, match="not on the public internet"):
        Fetcher(max_bytes=MAX_BYTES).fetch(site.url("/a.png"), name="Image 1")
    assert site.asked == []


def test_what_takes_too_long_is_given_up(
    fetcher: Fetcher, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A site that sends a little now and then keeps nobody for ever."""
    monkeypatch.setattr("nsfw_app.fetching.TOTAL_S", 0.1)
    with pytest.raises(RequestError, match=r"takes more than 0\.1 s"):
        fetcher.fetch(site.url("/slow"), name="Image 1")


@pytest.mark.parametrize(
    "address",
    ["64:ff9b:1::a00:1", "fec0::1", "::127.0.0.1", "::ffff:0:10.0.0.1", "64:ff9b::7f00:1"],
)
def test_addresses_that_lead_inside_by_another_way(address: str) -> None:
    """Translated, formerly local, and compatible addresses are not the public internet."""
    assert not is_public(address)
