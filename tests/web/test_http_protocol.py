"""HTTP/1.1 protocol: limits of headers, overhead and discarded bodies, lingering close."""

import contextlib
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from nsfw_app.review.engine import Engine
from nsfw_app.store import Store
from nsfw_app.web.http import protocol
from nsfw_app.web.http.protocol import DISCARDED_BYTES, HEAD_BYTES, OVERHEAD
from tests.support.application import open_app, served
from tests.support.nginx import running
from tests.support.server import free_port

GET = b"GET / HTTP/1.1\r\nHost: x\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


async def sized(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that responds with the size of the body; to /early without reading it."""
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


def connected(address: str) -> socket.socket:
    """A connection to the server."""
    url = urlsplit(address)
    return socket.create_connection((url.hostname or "", url.port or 0), timeout=20)


def exchange(address: str, *parts: bytes) -> bytes:
    """Send bytes and return everything received until the connection is closed."""
    with connected(address) as connection:
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
    """Many headers or an endless one: 431, and the connection is closed."""
    received = exchange(address, GET, b"X-B: ", *[line] * 100)
    assert received.startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize(
    "head",
    [
        GET + b"X-A: " + b"a" * (HEAD_BYTES - 10) + b"\r\n\r\n",
        GET + b"X:\r\n" * 20_000 + b"\r\n",
        b"GET /" + b"a" * HEAD_BYTES + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X-A: " + b"a" * 120_000 + b"\r\nHost: x\r\n\r\n",
    ],
    ids=["just over", "many headers", "long target", "very long"],
)
def test_a_complete_head_over_the_limit_is_rejected(address: str, head: bytes) -> None:
    """The limit also holds for a head that arrives in one piece, on any request."""
    for requests_before in range(2):
        with connected(address) as connection:
            for _ in range(requests_before):
                connection.sendall(GET + b"\r\n")
                assert connection.recv(65_536).startswith(b"HTTP/1.1 200 ")
            connection.sendall(head)
            received = connection.recv(65_536)
            assert received.startswith(b"HTTP/1.1 431 ")
            assert received.endswith(f"more than {HEAD_BYTES} bytes.".encode())


def test_a_request_ends_when_its_body_is_not_http(address: str) -> None:
    """An invalid chunk size gets 400."""
    assert exchange(address, CHUNKED, b"not a size\r\n").startswith(b"HTTP/1.1 400 ")


def test_a_large_head_within_the_limit_is_accepted(address: str) -> None:
    """A head just below the limit is served, in one piece or in several."""
    head = GET + b"X-A: " + b"a" * (HEAD_BYTES - 200) + b"\r\nConnection: close\r\n\r\n"
    for parts in ([head], [head[:9], head[9:30_000], head[30_000:]]):
        assert exchange(address, *parts).startswith(b"HTTP/1.1 200 ")


def test_a_head_over_the_limit_gets_the_limit(address: str) -> None:
    """The response has the limit."""
    received = exchange(address, GET, b"X-A: " + b"a" * HEAD_BYTES)
    assert received.startswith(b"HTTP/1.1 431 ")
    assert f"more than {HEAD_BYTES} bytes".encode() in received


def test_a_head_has_a_time_limit(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An incomplete head gets 408; a connection without data is closed silently."""
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
def test_the_overhead_of_a_body_is_limited(address: str, rest: bytes) -> None:
    """Endless chunk extensions and trailers are rejected."""
    parts = [rest[start : start + 50_000] for start in range(0, len(rest), 50_000)]
    received = exchange(address, CHUNKED, *parts)
    assert received == b"" or received.startswith(b"HTTP/1.1 431 ")


def test_a_body_of_tiny_chunks_arrives(address: str) -> None:
    """Chunks of a single byte are within the limit."""
    assert len(b"1\r\n\r\n") < OVERHEAD
    chunks = (b"a" for _ in range(30_000))
    assert httpx.post(address, content=chunks).text == "30000"


def test_ordinary_requests_share_a_connection(address: str) -> None:
    """Large bodies, long headers and keep-alive work."""
    with httpx.Client(base_url=address) as client:
        for size in (0, 1, 5_000_000):
            sent = client.post("/", content=bytes(size), headers={"x-a": "a" * 20_000})
            assert sent.text == str(size)
        assert client.get("/").text == "0"


def test_the_rest_of_a_body_is_discarded_up_to_a_limit(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that reads only after sending gets its response; an endless body is cut."""
    assert DISCARDED_BYTES > 137_000_000  # the largest body that is accepted anywhere
    assert httpx.post(f"{address}/early", content=bytes(5_000_000)).text == "0"
    monkeypatch.setattr(protocol, "DISCARDED_BYTES", 1_000_000)
    head = b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n"
    received = exchange(address, head, *[bytes(100_000)] * 1_000)
    assert received == b"" or received.startswith(b"HTTP/1.1 200 ")  # lost when it is reset


CLOSING = [
    b"POST /early HTTP/1.0\r\nContent-Length: %d\r\n\r\n",
    b"POST /early HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n",
]


@pytest.mark.parametrize("head", CLOSING, ids=["HTTP/1.0", "Connection: close"])
def test_an_early_response_reaches_a_slow_sender(address: str, head: bytes) -> None:
    """A client that still sends when the connection closes can send all and read the response."""
    parts = [bytes(20_000)] * 50
    with connected(address) as connection:
        connection.sendall(head % sum(map(len, parts)))
        for part in parts:
            connection.sendall(part)  # no BrokenPipeError or ConnectionResetError
            time.sleep(0.01)
        received = b""
        while data := connection.recv(65_536):
            received += data
    assert received.startswith(b"HTTP/1.1 200 ")
    assert received.endswith(b"\r\n\r\n0")


def test_a_rejected_head_reaches_a_slow_sender(address: str) -> None:
    """431 and 400 are received by a client that sends everything first."""
    for wrong, status in ((GET + b"X: " + b"x" * 70_000, b"431"), (b"\0" * 10, b"400")):
        with connected(address) as connection:
            connection.sendall(wrong)
            for _ in range(20):  # the same again: one read may get the wrong bytes and more
                connection.sendall(wrong[-1:] * 20_000)
                time.sleep(0.01)
            assert connection.recv(65_536).startswith(b"HTTP/1.1 " + status)


def is_reset(connection: socket.socket, parts: list[bytes], *, pause_s: float = 0) -> bool:
    """Whether the server closes the connection while these parts are sent."""
    try:
        for part in parts:
            connection.sendall(part)
            time.sleep(pause_s)
    except OSError:
        return True
    return False


@pytest.mark.parametrize("head", [*CLOSING, CLOSING[1].replace(b"close", b"keep-alive")])
def test_discarding_a_body_takes_limited_time(
    address: str, head: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that never finishes its body is disconnected, whether or not it stays connected."""
    monkeypatch.setattr(protocol, "DISCARD_S", 0.3)
    with connected(address) as connection:
        connection.sendall(head % 1_000_000)
        assert is_reset(connection, [b"x"] * 200, pause_s=0.02)


def test_discarding_a_body_takes_limited_bytes(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the limit a closing connection is reset."""
    monkeypatch.setattr(protocol, "DISCARDED_BYTES", 1_000_000)
    for head in CLOSING:
        with connected(address) as connection:
            connection.sendall(head % 10**10)
            assert is_reset(connection, [bytes(100_000)] * 1_000)


def test_only_so_many_connections_linger(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Further connections are reset, so that clients cannot collect them."""
    monkeypatch.setattr(protocol, "MAX_LINGERING", 2)
    with ExitStack() as stack:
        resets = 0
        for _ in range(4):
            connection = stack.enter_context(connected(address))
            connection.sendall(CLOSING[0] % 1_000_000)
            while connection.recv(65_536):  # the response, then the end of the sending direction
                continue
            resets += is_reset(connection, [bytes(10_000)] * 10, pause_s=0.01)
        assert resets == 2


def test_a_connection_is_reused_after_a_discarded_body(address: str) -> None:
    """After an early response the rest of the body is discarded, and the next request served."""
    head = b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"
    with connected(address) as connection:
        connection.sendall(head + bytes(60_000))
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200 ")
        connection.sendall(bytes(40_000) + GET + b"\r\n")
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200 ")


def test_a_connection_closes_when_the_body_was_discarded(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection without a further request is closed silently after the time for a head."""
    monkeypatch.setattr(protocol, "HEAD_S", 0.3)
    head = b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"
    with connected(address) as connection:
        connection.sendall(head)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200 ")
        connection.sendall(bytes(100_000))
        assert connection.recv(65_536) == b""


HTTP_1_0 = """server {{
    listen 127.0.0.1:{port};
    client_max_body_size 60m;
    proxy_request_buffering {buffering};
    location / {{ proxy_pass {upstream}; }}
}}"""


def test_early_refusals_pass_through_nginx(engine: Engine, store: Store, tmp_path: Path) -> None:
    """Behind nginx with its default of HTTP/1.0, each refusal keeps its status and message."""
    ports = {"on": free_port(), "off": free_port()}
    with (
        open_app(engine, store, tmp_path) as web_app,
        served(web_app.client.app) as url,
        running(
            tmp_path,
            "\n".join(
                HTTP_1_0.format(port=port, upstream=url, buffering=buffering)
                for buffering, port in ports.items()
            ),
            ports.values(),
        ),
    ):
        cookies = dict(web_app.signed_in("ann").cookies)
        key = {"authorization": "Bearer nsfw_wrong"}
        for port in ports.values():
            for _ in range(4):
                for path, size, options, status in (
                    ("/desk/decisions", 3_000_000, {}, 401),
                    ("/v1/gate", 3_000_000, {"headers": key}, 401),
                    ("/nothing", 3_000_000, {"cookies": cookies}, 404),
                    ("/desk/decisions", 20_000_000, {"cookies": cookies}, 413),
                ):
                    url = f"http://127.0.0.1:{port}{path}"
                    response = httpx.post(url, content=bytes(size), timeout=30, **options)
                    assert response.status_code == status, response.text
                    assert response.json()["error"]["message"]
