"""Examples of docs/gate.md: the configuration in a real nginx, the hook with a fake S3 server."""

import re
import threading
import urllib.parse
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from nsfw_app.models.loader import Loaded, ModelLoader
from nsfw_app.review.engine import Engine
from nsfw_app.review.policies import PolicyBook
from nsfw_app.rules.permissions import Permission
from nsfw_app.store import Store
from tests.support.application import open_app, served
from tests.support.fakes import LIMITS, FakeClassifier, image_bytes
from tests.support.nginx import running
from tests.support.server import free_port

DOCS = Path(__file__).parents[2] / "docs"
GATE_PAGE = (DOCS / "gate.md").read_text()
ALLOWED, REVIEWED, BLOCKED = image_bytes(10), image_bytes(150), image_bytes(240)
LARGE = image_bytes(10, size=(900, 900), image_format="BMP")  # more than nginx buffers in memory


def code_block(language: str) -> str:
    """The first code block of a language in docs/gate.md."""
    found = re.search(rf"```{language}\n(.*?)```", GATE_PAGE, re.DOTALL)
    assert found is not None
    return found[1]


@dataclass
class Received:
    """A request that a fake server received."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class FakeServer:
    """A fake HTTP server on 127.0.0.1 and the requests that it received."""

    url: str
    received: list[Received] = field(default_factory=list)


@contextmanager
def fake_server(objects: dict[str, bytes] | None = None) -> Iterator[FakeServer]:
    """Run an application that accepts uploads or, with objects, a server with the API of S3."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def respond(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            fake.received.append(Received(self.command, self.path, headers, body))
            content = b"stored"
            if objects is not None:
                key = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path.lstrip("/"))
                content = objects[key] if self.command == "GET" else b""
            self.send_response(200)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = respond  # noqa: N815  # http.server's names

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    fake = FakeServer(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass(frozen=True)
class Gate:
    """The served application and an API key for the gate."""

    url: str
    key: str


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """The application with a fake model on a socket."""
    folder = tmp_path_factory.mktemp("gate")
    store = Store(folder / "review.db", previews_dir=folder / "images", journal_mode="wal")
    loader = ModelLoader("fake", lambda: Loaded(FakeClassifier()))
    loader.wait()
    limits = replace(LIMITS, max_bytes=5_000_000)
    engine = Engine(store=store, loader=loader, limits=limits, policies=PolicyBook(store.policies))
    with open_app(engine, store, folder) as web_app, served(web_app.client.app) as url:
        scopes = (Permission.QUEUE,)
        key = web_app.accounts.add_key("gate", scopes, per_minute=10_000, actor="test").key
        yield Gate(url, key)


@contextmanager
def documented(directory: Path, gate: Gate, application: str) -> Iterator[str]:
    """Run nginx with the documented configuration and test addresses; yields its public URL."""
    public, inner = free_port(), free_port()
    servers = code_block("nginx")
    for documented_value, value in (
        ("client_max_body_size 50m;", "client_max_body_size 5m;"),
        ("listen 80;", f"listen 127.0.0.1:{public};"),
        ("127.0.0.1:8081", f"127.0.0.1:{inner}"),
        ("http://127.0.0.1:8000", application),
        ("http://127.0.0.1:7860", gate.url),
        ("Bearer KEY", f"Bearer {gate.key}"),
    ):
        assert documented_value in servers
        servers = servers.replace(documented_value, value)
    with running(directory, servers, [public, inner]):
        yield f"http://127.0.0.1:{public}"


FORM = {"files": {"file": ("a.png", ALLOWED, "image/png")}, "data": {"title": "holiday"}}


def test_nginx_passes_allowed_uploads_to_the_application(tmp_path: Path, gate: Gate) -> None:
    """The application gets the same request, form or raw, small or large, with the verdict."""
    with fake_server() as application, documented(tmp_path, gate, application.url) as url:
        spoofed = {"NSFW-Action": "allow", "NSFW-Submission": "mine", "Origin": "https://site.test"}
        cookies = {"Cookie": "session=abc"}
        for image, action in ((ALLOWED, "allow"), (LARGE, "allow"), (REVIEWED, "review")):
            application.received.clear()
            sent = httpx.put(f"{url}/upload", content=image, headers=spoofed | cookies)
            (arrived,) = application.received
            assert (sent.status_code, sent.text) == (200, "stored")
            assert (arrived.method, arrived.path, arrived.body) == ("PUT", "/upload", image)
            assert arrived.headers["nsfw-action"] == action
            assert arrived.headers["cookie"] == "session=abc"
            submission = arrived.headers.get("nsfw-submission")
            assert submission != "mine"
            assert (submission is not None) is (action == "review")
        application.received.clear()
        assert httpx.post(f"{url}/upload", **FORM).status_code == 200
        (arrived,) = application.received
        assert b"holiday" in arrived.body
        assert ALLOWED in arrived.body


def test_nginx_refuses_blocked_and_unavailable_uploads(tmp_path: Path, gate: Gate) -> None:
    """The application does not see them, and the client gets no score."""
    with fake_server() as application, documented(tmp_path, gate, application.url) as url:
        application.received.clear()
        for image in (BLOCKED, b"no image", b"", bytes(6_000_000)):
            sent = httpx.post(f"{url}/upload", content=image)
            assert (sent.status_code, sent.text) == (422, "This file is not accepted.\n")
            assert not [name for name in sent.headers if name.startswith("nsfw")]
        assert httpx.get(f"{url}/upload").status_code == 405
        assert application.received == []


@pytest.mark.parametrize("fault", ["wrong key", "no gate"])
def test_nginx_passes_nothing_without_a_verdict(tmp_path: Path, gate: Gate, fault: str) -> None:
    """If the gate refuses the key or is down, uploads are refused with 503."""
    broken = Gate(f"http://127.0.0.1:{free_port()}" if fault == "no gate" else gate.url, "nr_wrong")
    with fake_server() as application, documented(tmp_path, broken, application.url) as url:
        application.received.clear()
        sent = httpx.post(f"{url}/upload", content=ALLOWED)
        assert (sent.status_code, sent.headers["retry-after"]) == (503, "5")
        assert application.received == []


def test_auth_request_sends_no_body(tmp_path: Path, gate: Gate) -> None:
    """As documented: nginx's subrequest has no body, so nothing passes."""
    port = free_port()
    servers = f"""server {{
        listen 127.0.0.1:{port};
        location = /upload {{ auth_request /gate; proxy_pass http://127.0.0.1:1; }}
        location = /gate {{
            internal;
            proxy_pass {gate.url}/v1/gate;
            proxy_method POST;
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
            proxy_set_header Authorization "Bearer {gate.key}";
        }}
    }}"""
    with running(tmp_path, servers, [port]):
        refused = httpx.post(f"http://127.0.0.1:{port}/upload", content=ALLOWED)
    assert refused.status_code == 500
    assert "auth request unexpected status: 422" in (tmp_path / "error.log").read_text()


def hook(gate: Gate, storage: FakeServer, patch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The documented function, with boto3 using the fake S3 server."""
    for name, value in {
        "GATE_URL": f"{gate.url}/v1/gate",
        "GATE_KEY": gate.key,
        "AWS_ENDPOINT_URL_S3": storage.url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        patch.setenv(name, value)
    names: dict[str, Any] = {}
    exec(code_block("python"), names)
    return names


def tags_of(request: Received) -> dict[str, str]:
    """The object tags in a request."""
    space = "{http://s3.amazonaws.com/doc/2006-03-01/}"
    pairs = ET.fromstring(request.body).iter(f"{space}Tag")
    return {pair.findtext(f"{space}Key", ""): pair.findtext(f"{space}Value", "") for pair in pairs}


@pytest.mark.parametrize(
    ("image", "action"),
    [(ALLOWED, "allow"), (REVIEWED, "review"), (b"no image", "unavailable"), (BLOCKED, None)],
)
def test_the_upload_hook_tags_each_object(
    gate: Gate, monkeypatch: pytest.MonkeyPatch, image: bytes, action: str | None
) -> None:
    """An object is tagged with its action; a blocked one is deleted."""
    key = "in box/grüße + 1.png"
    with fake_server({f"uploads/{key}": image}) as storage:
        event = {"bucket": {"name": "uploads"}, "object": {"key": urllib.parse.quote_plus(key)}}
        hook(gate, storage, monkeypatch)["handler"]({"Records": [{"s3": event}]}, None)
        read, written = storage.received
    assert read.method == "GET"
    assert urllib.parse.unquote(written.path).startswith(f"/uploads/{key}")
    if action is None:
        assert written.method == "DELETE"
        return
    tags = tags_of(written)
    assert (written.method, tags["nsfw-action"]) == ("PUT", action)
    assert (tags["nsfw-submission"] == "none") is (action != "review")


def test_the_upload_hook_fails_without_a_verdict(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the gate refuses the key, the event fails and is delivered again."""
    with fake_server({"uploads/a.png": ALLOWED}) as storage:
        event = {"bucket": {"name": "uploads"}, "object": {"key": "a.png"}}
        wrong = Gate(gate.url, "nr_wrong")
        with pytest.raises(OSError, match="401"):
            hook(wrong, storage, monkeypatch)["handler"]({"Records": [{"s3": event}]}, None)
        assert [request.method for request in storage.received] == ["GET"]
