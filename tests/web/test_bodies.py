"""Request bodies: size limits, minimum rate, and cleanup after a rejected request."""

import base64
import socket
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import pytest
from fastapi import Request
from gradio_client import Client, handle_file
from PIL import Image
from starlette.types import Message

from nsfw_app.errors import RequestError, RequestTooLarge, RequestTooSlow
from nsfw_app.models.loader import Loaded, ModelLoader
from nsfw_app.review.engine import Engine
from nsfw_app.review.policies import PolicyBook
from nsfw_app.rules.permissions import Permission
from nsfw_app.store import Store
from nsfw_app.web.http import bodies
from nsfw_app.web.http.bodies import body
from nsfw_app.web.middleware.auth import MAX_CALL_BYTES, MAX_JSON_BYTES, MAX_PUBLIC_BYTES
from tests.support.application import WebApp, open_app, served
from tests.support.fakes import LIMITS, FakeClassifier, image_bytes
from tests.support.image_files import animated, grays


class Counting(FakeClassifier):
    """A slow classifier that counts the images it has started."""

    def __init__(self) -> None:
        super().__init__()
        self.started = 0
        self.takes_s = 0.05

    def predict(self, images: Sequence[Image.Image]) -> list[dict[str, float]]:
        """See `Classifier.predict`."""
        self.started += 1
        threading.Event().wait(self.takes_s)
        return super().predict(images)


def received(
    *chunks: bytes, wait_s: float = 0.0, then_s: float | None = None, max_bytes: int = 100
) -> bytes:
    """Read a body whose chunks arrive after `wait_s`, those after the first after `then_s`."""
    parts = iter(enumerate(chunks, start=1))

    async def receive() -> Message:
        number, chunk = next(parts)
        await anyio.sleep(wait_s if number == 1 or then_s is None else then_s)
        return {"type": "http.request", "body": chunk, "more_body": number < len(chunks)}

    async def read() -> bytes:
        return await body(Request({"type": "http", "headers": []}, receive), max_bytes=max_bytes)

    with ThreadPoolExecutor(1) as thread:  # the browser tests keep a loop in this one
        return thread.submit(anyio.run, read).result()


def test_chunks_are_joined() -> None:
    """Chunks are joined in order, up to the limit."""
    assert received(b"a" * 60, b"", b"b" * 40) == b"a" * 60 + b"b" * 40
    with pytest.raises(RequestTooLarge):
        received(b"a" * 60, b"b" * 41)


def test_a_body_below_the_minimum_rate_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body below the minimum rate in any window is rejected."""
    monkeypatch.setattr(bodies, "WINDOW_S", 0.05)
    with pytest.raises(RequestTooSlow, match="10 kB/s"):
        received(b"a", wait_s=10)
    with pytest.raises(RequestTooSlow):
        received(*[b"a"] * 100, wait_s=0.02)


def test_a_steady_slow_body_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A steady body above the minimum rate is read completely, however long it takes."""
    monkeypatch.setattr(bodies, "WINDOW_S", 0.2)
    monkeypatch.setattr(bodies, "MIN_BYTES_PER_S", 100)
    assert received(*[b"a" * 10] * 6, wait_s=0.05) == b"a" * 60


def test_a_fast_start_does_not_excuse_a_stall(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rate holds in every window: bytes that arrived earlier do not count."""
    monkeypatch.setattr(bodies, "WINDOW_S", 0.1)
    monkeypatch.setattr(bodies, "MIN_BYTES_PER_S", 100)
    with pytest.raises(RequestTooSlow):
        received(b"a" * 100_000, b"a", max_bytes=200_000, wait_s=0.09, then_s=5)


def test_server_delays_do_not_count() -> None:
    """Only time spent waiting for the client counts, not the server's delays."""
    rate = bodies.MinimumRate()
    for _ in range(100):
        rate.arrived(1, waited_s=0.0)
    assert rate.patience_s == bodies.WINDOW_S
    rate.arrived(1, waited_s=9.5)
    assert rate.patience_s == pytest.approx(0.5)
    rate.arrived(100_000, waited_s=0.0)
    assert rate.patience_s == pytest.approx(10)


def test_a_disconnect_is_a_typed_error() -> None:
    """A disconnect raises a typed error, without a traceback."""

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def read() -> bytes:
        return await body(Request({"type": "http", "headers": []}, receive), max_bytes=9)

    with ThreadPoolExecutor(1) as thread, pytest.raises(RequestError, match="closed before"):
        thread.submit(anyio.run, read).result()


@pytest.mark.parametrize(("declared", "error"), [("101", RequestTooLarge), ("-1", RequestError)])
def test_the_declared_length_is_checked_first(declared: str, error: type[Exception]) -> None:
    """No byte is read if the declared length is over the limit or invalid."""

    async def receive() -> Message:
        raise AssertionError

    async def read() -> bytes:
        headers = [(b"content-length", declared.encode())]
        request = Request({"type": "http", "headers": headers}, receive)
        return await body(request, max_bytes=100)

    with ThreadPoolExecutor(1) as thread, pytest.raises(error):
        thread.submit(anyio.run, read).result()


def test_a_slow_body_is_cut(web_app: WebApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client gets 408 with the minimum rate, and the connection is closed."""
    monkeypatch.setattr(bodies, "WINDOW_S", 0.2)
    key = web_app.with_key(Permission.CLASSIFY).headers["authorization"]
    with served(web_app.client.app) as url:
        address = urlsplit(url)
        for path in ("/v1/gate", "/v1/images"):
            with socket.create_connection((address.hostname, address.port), 20) as connection:
                connection.sendall(
                    f"POST {path} HTTP/1.1\r\nHost: review.test\r\nAuthorization: {key}\r\n"
                    "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 9000\r\n\r\n"
                    "--b".encode()
                )
                answer = b""
                while data := connection.recv(65_536):  # until it is closed
                    answer += data
            assert answer.startswith(b"HTTP/1.1 408 ")
            assert b"10 kB/s over 0.2 s" in answer


def test_a_response_has_no_time_limit(
    web_app: WebApp, counting: Counting, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """After the body there is no time limit: a stream of events outlives the window."""
    monkeypatch.setattr(bodies, "WINDOW_S", 0.3)
    counting.takes_s = 1.0
    path = tmp_path / "a.png"
    path.write_bytes(image_bytes(9))
    headers = {"Authorization": web_app.with_key(Permission.CLASSIFY).headers["authorization"]}
    with served(web_app.client.app) as url:
        program = Client(url, headers=headers, verbose=False)
        assert program.predict(handle_file(path), api_name="/classify")["action"] == "allow"


@pytest.mark.parametrize("kind", ["form", "file", "raw"])
def test_sign_in_bodies_are_small(web_app: WebApp, kind: str) -> None:
    """Anonymous callers may send it, so it is limited to a few kB."""
    much = b"a" * (MAX_PUBLIC_BYTES + 1)
    sent: dict[str, Any] = {
        "form": {"data": {"username": "ann", "password": much.decode()}},
        "file": {"files": {"username": ("a", much)}, "data": {"password": "x"}},
        "raw": {"content": much},
    }[kind]
    assert 400 <= web_app.anonymous().post("/login", **sent).status_code < 500


@pytest.mark.parametrize(
    "path", ["/gradio_api/queue/join", "/gradio_api/cancel", "/gradio_api/reset"]
)
def test_every_call_of_gradio_has_the_limits_of_calls(web_app: WebApp, path: str) -> None:
    """1 MB and 2,000 parts hold for each of its routes."""
    ann = web_app.signed_in("ann")
    for much in (b'"%s"' % (b"a" * MAX_CALL_BYTES), b"[" + b"[]," * 2_000 + b"[]]"):
        refused = ann.post(path, content=much)
        assert (refused.status_code, refused.json()["error"]["kind"]) == (413, "request_too_large")


def test_bodies_without_images_are_limited(web_app: WebApp) -> None:
    """Decisions and calls are limited for every caller."""
    much = b'"' + b"a" * MAX_JSON_BYTES + b'"'
    headers = {"content-type": "application/json"}
    ann = web_app.signed_in("ann")
    for path in ("/desk/decisions", "/gradio_api/cancel", "/desk/queue/claim"):
        assert 400 <= ann.post(path, content=much, headers=headers).status_code < 500


PART = b'--b\r\ncontent-disposition: form-data; name="file"; filename="%d.png"\r\n\r\n%s\r\n'


@pytest.mark.parametrize("path", ["/v1/images", "/v1/gate", "/gradio_api/upload"])
@pytest.mark.parametrize("end", [b"", b"--b", b"--b-", b"--b\r\ncontent-disposition: form-data"])
def test_form_without_its_end_is_rejected(
    web_app: WebApp, counting: Counting, path: str, end: bytes
) -> None:
    """An incomplete image is not dropped silently: nothing is classified."""
    client = web_app.signed_in("ann") if path.startswith("/gradio") else web_app.with_every_scope()
    whole = PART % (1, image_bytes(1)) + PART % (2, image_bytes(2))
    headers = {"content-type": "multipart/form-data; boundary=b"}
    for content in (whole + end, whole[:-9], whole[: len(whole) // 2 + 90]):
        refused = client.post(path, content=content, headers=headers)
        assert (refused.status_code, refused.json()["error"]["kind"]) == (400, "request")
        assert "cut short" in refused.json()["error"]["message"]
    assert counting.started == 0


@pytest.mark.parametrize("end", [b"--b--", b"--b--\r\n", b"--b--\r\nan epilogue"])
def test_form_with_its_end_is_complete(web_app: WebApp, end: bytes) -> None:
    """A line break or a text after the closing boundary is allowed."""
    body = PART % (1, image_bytes(1)) + PART % (2, image_bytes(2)) + end
    headers = {"content-type": "multipart/form-data; boundary=b"}
    sent = web_app.with_every_scope().post("/v1/images", content=body, headers=headers)
    assert [image["name"] for image in sent.json()["images"]] == ["1.png", "2.png"]


@pytest.fixture
def counting() -> Counting:
    """A slow classifier."""
    return Counting()


@pytest.fixture
def web_app(store: Store, counting: Counting, tmp_path: Path) -> Iterator[WebApp]:
    """The application with the slow classifier."""
    loader = ModelLoader("fake", lambda: Loaded(counting))
    loader.wait()
    engine = Engine(store=store, loader=loader, limits=LIMITS, policies=PolicyBook(store.policies))
    with open_app(engine, store, tmp_path, max_file_mb=5) as web_app:
        yield web_app


def data_url(data: bytes) -> str:
    """An image as a data URL, as OpenAI's clients send it."""
    return "data:image/png;base64," + base64.b64encode(data).decode()


@pytest.mark.parametrize("bad", ["data:image/png;base64,@@", "https://example.com/a.png"])
def test_a_rejected_request_classifies_nothing_more(
    web_app: WebApp, counting: Counting, bad: str
) -> None:
    """If one image of a request is invalid, no other is classified after the response."""
    urls = [bad, *(data_url(image_bytes(red)) for red in range(1, 61))]
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    program = web_app.with_key(Permission.CLASSIFY)
    refused = program.post("/v1/moderations", json={"input": parts})
    started = counting.started
    threading.Event().wait(0.3)
    assert refused.status_code == 400
    assert counting.started == started < 30


def test_many_frames_of_one_request_are_accepted(web_app: WebApp) -> None:
    """An idle server classifies all frames of all images of one request."""
    gifs = [animated(grays(16, (24, 16 + number)), "GIF") for number in range(20)]
    files = [("file", ("a.gif", gif, "image/gif")) for gif in gifs]
    answer = web_app.with_key(Permission.CLASSIFY).post("/v1/images", files=files)
    assert answer.status_code == 200
    assert [image["frames"] for image in answer.json()["images"]] == [16] * 20
