"""What docs/gate.md shows: its configuration in a real nginx, its hook at a stand-in for S3."""

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
from nsfw_app.review.engine import Engine, PolicyDefaults
from nsfw_app.rules.permissions import Permission
from nsfw_app.store import Store
from tests.support.application import open_app, served
from tests.support.fakes import LIMITS, FakeClassifier, picture_bytes
from tests.support.nginx import running
from tests.support.server import free_port

DOCS = Path(__file__).parents[2] / "docs"
GATE_PAGE = (DOCS / "gate.md").read_text()
ALLOWED, WAITS, BLOCKED = picture_bytes(10), picture_bytes(150), picture_bytes(240)
LARGE = picture_bytes(10, size=(900, 900), image_format="BMP")  # more than nginx keeps in memory


def shown(language: str) -> str:
    """The page's first block of code in a language."""
    found = re.search(rf"```{language}\n(.*?)```", GATE_PAGE, re.DOTALL)
    assert found is not None
    return found[1]


@dataclass
class Received:
    """A request that reached a stand-in."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class StandIn:
    """A server of the test's own on a socket of 127.0.0.1, and what reached it."""

    url: str
    received: list[Received] = field(default_factory=list)


@contextmanager
def standing_in(objects: dict[str, bytes] | None = None) -> Iterator[StandIn]:
    """An application that takes uploads, or with objects a store that speaks as S3 does."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            stand_in.received.append(Received(self.command, self.path, headers, body))
            found = b"stored"
            if objects is not None:
                key = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path.lstrip("/"))
                found = objects[key] if self.command == "GET" else b""
            self.send_response(200)
            self.send_header("content-length", str(len(found)))
            self.end_headers()
            self.wfile.write(found)

        do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815  # http.server's names

        def log_message(self, *_: object) -> None:
            """Nothing on standard error."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    stand_in = StandIn(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield stand_in
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass(frozen=True)
class Gate:
    """The served application and a key for its gate."""

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
    engine = Engine(store=store, loader=loader, limits=limits, defaults=PolicyDefaults())
    with open_app(engine, store, folder) as web_app, served(web_app.client.app) as url:
        scopes = (Permission.QUEUE,)
        made = web_app.accounts.add_key("gate", scopes, per_minute=10_000, actor="test")
        yield Gate(url, made.key)


@contextmanager
def documented(directory: Path, gate: Gate, application: str) -> Iterator[str]:
    """The documented configuration with the test's addresses; the public one."""
    public, inner = free_port(), free_port()
    servers = shown("nginx")
    for written, here in (
        ("client_max_body_size 50m;", "client_max_body_size 5m;"),
        ("listen 80;", f"listen 127.0.0.1:{public};"),
        ("127.0.0.1:8081", f"127.0.0.1:{inner}"),
        ("http://127.0.0.1:8000", application),
        ("http://127.0.0.1:7860", gate.url),
        ("Bearer KEY", f"Bearer {gate.key}"),
    ):
        assert written in servers
        servers = servers.replace(written, here)
    with running(directory, servers, [public, inner]):
        yield f"http://127.0.0.1:{public}"


FORM = {"files": {"file": ("a.png", ALLOWED, "image/png")}, "data": {"title": "holiday"}}


def test_nginx_lets_what_is_allowed_reach_the_application(tmp_path: Path, gate: Gate) -> None:
    """The application gets the very same request, form or raw, small or large, with the verdict."""
    with standing_in() as application, documented(tmp_path, gate, application.url) as url:
        spoofed = {"NSFW-Action": "allow", "NSFW-Submission": "mine", "Origin": "https://site.test"}
        cookies = {"Cookie": "session=abc"}
        for image, action in ((ALLOWED, "allow"), (LARGE, "allow"), (WAITS, "review")):
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


def test_nginx_keeps_what_is_not_allowed_from_the_application(tmp_path: Path, gate: Gate) -> None:
    """What is blocked or cannot be judged ends at nginx, and its sender learns no score."""
    with standing_in() as application, documented(tmp_path, gate, application.url) as url:
        application.received.clear()
        for image in (BLOCKED, b"no image", b"", bytes(6_000_000)):
            sent = httpx.post(f"{url}/upload", content=image)
            assert (sent.status_code, sent.text) == (422, "This file is not accepted.\n")
            assert not [name for name in sent.headers if name.startswith("nsfw")]
        assert httpx.get(f"{url}/upload").status_code == 405
        assert application.received == []


@pytest.mark.parametrize("fault", ["wrong key", "no gate"])
def test_nginx_lets_nothing_pass_without_a_verdict(tmp_path: Path, gate: Gate, fault: str) -> None:
    """Where the gate refuses the key, or does not answer at all, uploads are put off."""
    broken = Gate(f"http://127.0.0.1:{free_port()}" if fault == "no gate" else gate.url, "nr_wrong")
    with standing_in() as application, documented(tmp_path, broken, application.url) as url:
        application.received.clear()
        sent = httpx.post(f"{url}/upload", content=ALLOWED)
        assert (sent.status_code, sent.headers["retry-after"]) == (503, "5")
        assert application.received == []


def test_auth_request_sends_no_body(tmp_path: Path, gate: Gate) -> None:
    """As the page says: nginx's own subrequest comes without the upload, so nothing passes."""
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


def hook(gate: Gate, storage: StandIn, patch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The documented function, with boto3 pointed at the stand-in."""
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
    exec(shown("python"), names)
    return names


def tags_of(request: Received) -> dict[str, str]:
    """The tags that a request gives an object."""
    space = "{http://s3.amazonaws.com/doc/2006-03-01/}"
    pairs = ET.fromstring(request.body).iter(f"{space}Tag")
    return {pair.findtext(f"{space}Key", ""): pair.findtext(f"{space}Value", "") for pair in pairs}


@pytest.mark.parametrize(
    ("image", "action"),
    [(ALLOWED, "allow"), (WAITS, "review"), (b"no image", "unavailable"), (BLOCKED, None)],
)
def test_the_upload_hook_tags_each_object(
    gate: Gate, monkeypatch: pytest.MonkeyPatch, image: bytes, action: str | None
) -> None:
    """An object gets the action as its tag, a blocked one is deleted, whatever its key is."""
    key = "in box/grüße + 1.png"
    with standing_in({f"uploads/{key}": image}) as storage:
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


def test_the_upload_hook_fails_where_there_is_no_verdict(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gate that refuses the key makes the event fail, so that it is delivered again."""
    with standing_in({"uploads/a.png": ALLOWED}) as storage:
        event = {"bucket": {"name": "uploads"}, "object": {"key": "a.png"}}
        wrong = Gate(gate.url, "nr_wrong")
        with pytest.raises(OSError, match="401"):
            hook(wrong, storage, monkeypatch)["handler"]({"Records": [{"s3": event}]}, None)
        assert [request.method for request in storage.received] == ["GET"]
