"""Log records of requests and of decisions, and what they never contain."""

import io
import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest

from nsfw_app import server_log
from nsfw_app.accounts import Accounts
from nsfw_app.models.loader import Loaded, ModelLoader
from nsfw_app.review.engine import Engine
from nsfw_app.review.policies import PolicyBook
from nsfw_app.rules.permissions import KEY_SCOPES, UserRole
from nsfw_app.store import Store
from tests.support.application import WebApp, add, answer_to, open_app
from tests.support.fakes import LIMITS, FakeClassifier, image_bytes
from tests.support.server import serving

MARK = "q7xmarkz"
REQUESTS = "nsfw_app.web.request_log"


@pytest.fixture(scope="module")
def web_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebApp]:
    """The application with users; tests share it."""
    path = tmp_path_factory.mktemp("app")
    store = Store(path / "review.db", previews_dir=path / "images", journal_mode="wal")
    loader = ModelLoader("fake", lambda: Loaded(FakeClassifier()))
    loader.wait()
    engine = Engine(store=store, loader=loader, limits=LIMITS, policies=PolicyBook(store.policies))
    with open_app(engine, store, path) as web_app:
        yield web_app


def records(caplog: pytest.LogCaptureFixture) -> list[dict]:
    """Fields of the records of requests."""
    return [vars(record) for record in caplog.records if record.name == REQUESTS]


def test_each_request_is_one_record(web_app: WebApp, caplog: pytest.LogCaptureFixture) -> None:
    """Method, route pattern, status, duration, caller, and the id that the response has."""
    caplog.set_level(logging.INFO, "nsfw_app")
    ann = web_app.signed_in("ann")
    card = add(ann, red=150)
    caplog.clear()
    response = ann.get(f"/desk/images/{card['sha256']}/picture?size=1")
    (record,) = records(caplog)
    assert record["route"] == "/desk/images/{sha256}/picture"
    assert (record["method"], record["status"], record["caller"]) == ("GET", 200, "ann")
    assert record["request_id"] == response.headers["x-request-id"]
    assert record["duration_ms"] > 0
    assert card["sha256"] not in record["message"]


def test_a_refused_request_without_a_caller_is_logged_too(
    web_app: WebApp, caplog: pytest.LogCaptureFixture
) -> None:
    """With its status, and without a caller."""
    caplog.set_level(logging.INFO, "nsfw_app")
    web_app.anonymous().get("/desk/status")
    (record,) = records(caplog)
    assert record["status"] == 401
    assert "caller" not in record


def test_health_checks_and_assets_are_logged_at_debug(
    web_app: WebApp, caplog: pytest.LogCaptureFixture
) -> None:
    """They would be most of the log."""
    paths = (
        "/healthz",
        "/readyz",
        "/desk/assets/shared/dom.js",
        "/theme.css",
        "/favicon.ico",
        "/desk/heartbeat",
    )
    caplog.set_level(logging.INFO, "nsfw_app")
    for path in paths:
        web_app.anonymous().get(path)
    assert records(caplog) == []
    caplog.set_level(logging.DEBUG, "nsfw_app")
    for path in paths:
        web_app.anonymous().get(path)
    assert len(records(caplog)) == len(paths)


def test_a_decision_has_the_id_of_its_request(web_app: WebApp) -> None:
    """The record of a decision, and of its undo, which a thread writes, leads to the request."""
    own = logging.getLogger("nsfw_app")
    lines = io.StringIO()
    handler = logging.StreamHandler(lines)
    handler.addFilter(server_log.add_request)
    handler.setFormatter(server_log.json_formatter())
    own.addHandler(handler)
    own.setLevel(logging.INFO)
    try:
        ann = web_app.signed_in("ann")
        card = add(ann, red=150)
        ann.headers["x-request-id"] = "first"
        decided = ann.post("/desk/decisions", json=answer_to(card)).json()["decision_id"]
        ann.headers["x-request-id"] = "second"
        ann.post(f"/desk/decisions/{decided}/undo", json={"nonce": "undo"})
    finally:
        own.removeHandler(handler)
        own.setLevel(logging.NOTSET)
    found = [json.loads(line) for line in lines.getvalue().splitlines()]
    fields = ("message", "request_id", "caller")
    assert [[line[f] for f in fields] for line in found if line.get("decision_id") == decided] == [
        [f"Decision {decided} is saved.", "first", "ann"],
        [f"Decision {decided} is undone.", "second", "ann"],
    ]


class Failing(BaseHTTPRequestHandler):
    """A webhook receiver that responds with an error."""

    def do_POST(self) -> None:
        """Refuse a message."""
        self.rfile.read(int(self.headers["content-length"]))
        self.server.received.set()  # type: ignore[attr-defined]
        self.send_response(500)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def test_nothing_secret_and_no_name_is_in_the_log_of_a_server(tmp_path: Path) -> None:
    """Names of images, passwords, keys, cookies, query strings, webhook addresses: none of them.

    The real server logs JSON at info: each line is one object, and each request is among them.
    """
    receiver = HTTPServer(("127.0.0.1", 0), Failing)
    receiver.received = threading.Event()  # type: ignore[attr-defined]
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    data, password = tmp_path / "data", f"password {MARK}"
    accounts = Accounts(Store(data / "review.db", previews_dir=data / "images", journal_mode="wal"))
    accounts.add_user("ann", password, UserRole.ADMIN, actor="test")
    hook = f"http://127.0.0.1:{receiver.server_port}/{MARK}?token={MARK}"
    key = accounts.add_key("bot", list(KEY_SCOPES), per_minute=1_000, actor="t", webhook_url=hook)
    settings = {"NSFW_LOG": "json", "NSFW_REVIEW_FROM": "0", "NSFW_REVIEW_TO": "1"}
    with serving(tmp_path, **settings) as server, httpx.Client(base_url=server.url) as client:
        while client.get("/readyz").status_code != 200:
            pass
        for wrong in (f"wrong {MARK}", password):
            signed_in = client.post("/login", data={"username": "ann", "password": wrong})
        assert signed_in.status_code == 200
        session = client.cookies["nsfw_review"]
        name = f"{MARK}.png"
        query = {"name": name, "source": "gallery"}
        card = client.post("/desk/images", params=query, content=image_bytes(1)).json()
        assert card["name"] == name
        for broken in (b"no image", image_bytes(2)[:-30], b"\x89PNG\r\n\x1a\n" + bytes(50)):
            client.post("/desk/images", params=query, content=broken)
        client.post("/desk/images", params={"name": name * 40, "source": MARK}, content=b"x")
        headers = {"authorization": f"Bearer {key.key}"}
        files = [("file", (name, image_bytes(3))), ("file", (name, b"broken"))]
        sent = client.post("/v1/images?queue=true", files=files, headers=headers).json()
        assert sent["images"][0]["id"]
        client.post(f"/v1/image-classification?{MARK}=1", content=b"x", headers=headers)
        client.get("/v1/images/x", headers={"authorization": f"Bearer nsfw_{MARK}"})
        client.get(f"/login/callback?code={MARK}&state={MARK}")
        client.get(f"/gradio_api/file={MARK}")
        client.get(f"/{MARK}")
        waiting = sent["images"][0]
        answer = answer_to(
            waiting, label=waiting["label"], threshold=waiting["threshold"], note=MARK
        )
        client.get(f"/desk/images/{answer['image_sha256']}/picture")
        decided = client.post("/desk/decisions", json=answer)
        assert decided.status_code == 200, decided.text
        assert receiver.received.wait(20)  # type: ignore[attr-defined]
        client.get("/desk/status")
    receiver.shutdown()
    text = server.log.read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert all({"time", "level", "logger", "message"} <= set(line) for line in lines)
    for secret in (MARK, key.key, key.webhook_secret or "", session, "whsec_"):
        assert secret not in text
    routes = {line.get("route") for line in lines}
    assert {"/login", "/desk/images", "/v1/images", "/desk/decisions"} <= routes
    (saved,) = [line for line in lines if "decision_id" in line]
    assert saved["request_id"] == decided.headers["x-request-id"]
    assert saved["decision_id"] == decided.json()["decision_id"]
    assert any("Page:" in line["message"] for line in lines)
    assert any("webhook" in line["message"] for line in lines)
