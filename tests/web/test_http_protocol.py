"""HTTP/1.1: limits of heads and of the overhead of bodies, and ordinary requests within them."""

import contextlib
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from nsfw_app.web.http import protocol
from nsfw_app.web.http.protocol import DISCARDED_BYTES, HEAD_BYTES, OVERHEAD
from tests.support.application import served

GET = b"GET / HTTP/1.1\r\nHost: x\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


async def sized(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that answers with the size of the body, or at once to /early."""
    size, more = 0, scope["path"] != "/early"
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    body = str(size).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
def address() -> Iterator[str]:
    """The application on a socket."""
    with served(sized) as url:
        yield url


def exchange(address: str, *parts: bytes) -> bytes:
    """All that comes back for these bytes, until the connection is closed."""
    with socket.create_connection(
        (urlsplit(address).hostname or "", urlsplit(address).port or 0), timeout=20
    ) as connection:
        with contextlib.suppress(OSError):  # closed while it is still sent to
            for part in parts:
                connection.sendall(part)
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while data := connection.recv(65_536):
                received += data
        return received


@pytest.mark.parametrize("line", [b"X-A: " + b"a" * 9_000 + b"\r\n", b"a" * 50_000])
def test_a_head_has_a_size(address: str, line: bytes) -> None:
    """Many headers or an endless one: refused with the limit, and the connection is closed."""
    received = exchange(address, GET, b"X-B: ", *[line] * 100)
    assert received == b"" or received.startswith(b"HTTP/1.1 431 ")


def test_a_head_over_the_limit_is_told_so(address: str) -> None:
    """The response names the limit."""
    received = exchange(address, GET, b"X-A: " + b"a" * HEAD_BYTES)
    assert received.startswith(b"HTTP/1.1 431 ")
    assert f"more than {HEAD_BYTES} bytes".encode() in received


def test_a_head_does_not_take_for_ever(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has begun is answered 408; a connection that sends nothing is closed silently."""
    monkeypatch.setattr(protocol, "HEAD_S", 0.2)
    assert exchange(address, GET).startswith(b"HTTP/1.1 408 ")
    assert exchange(address) == b""
    second = exchange(address, GET + b"\r\n", GET)
    assert second.startswith(b"HTTP/1.1 200 ")
    assert b"HTTP/1.1 408 " in second


@pytest.mark.parametrize(
    "rest",
    [
        b"1;" + b"x" * 1_000_000 + b"\r\na\r\n",
        b"1\r\na\r\n0\r\nX: " + b"x" * 1_000_000,
        b"1\r\na\r\n0\r\n" + b"X: x\r\n" * 200_000,
    ],
    ids=["extension", "trailer", "trailers"],
)
def test_the_overhead_of_a_body_is_in_proportion(address: str, rest: bytes) -> None:
    """Chunk extensions and trailers without end close the connection."""
    parts = [rest[start : start + 50_000] for start in range(0, len(rest), 50_000)]
    assert exchange(address, CHUNKED, *parts) == b""


def test_a_body_of_tiny_chunks_arrives(address: str) -> None:
    """Chunks of a single byte are within the proportion."""
    assert len(b"1\r\n\r\n") < OVERHEAD
    chunks = (b"a" for _ in range(30_000))
    assert httpx.post(address, content=chunks).text == "30000"


def test_ordinary_requests_share_a_connection(address: str) -> None:
    """Large bodies, long headers and keep-alive work as before."""
    with httpx.Client(base_url=address) as client:
        for size in (0, 1, 5_000_000):
            sent = client.post("/", content=bytes(size), headers={"x-a": "a" * 20_000})
            assert sent.text == str(size)
        assert client.get("/").text == "0"


def test_what_follows_an_early_response_is_read_so_far(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that reads only after it has sent all gets its response; an endless one is cut."""
    assert DISCARDED_BYTES > 137_000_000  # the largest body that is accepted anywhere
    assert httpx.post(f"{address}/early", content=bytes(5_000_000)).text == "0"
    monkeypatch.setattr(protocol, "DISCARDED_BYTES", 1_000_000)
    head = b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n"
    received = exchange(address, head, *[bytes(100_000)] * 1_000)
    assert received == b"" or received.startswith(b"HTTP/1.1 200 ")
