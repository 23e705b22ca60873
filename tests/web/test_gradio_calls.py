"""Calls to Gradio's queue: no URL is fetched, ownership is checked, and shares are limited."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from gradio_client import Client, handle_file

from nsfw_app.review.engine import Engine
from nsfw_app.rules.permissions import Permission
from nsfw_app.store import Store
from nsfw_app.web.middleware.auth import MAX_CALL_BYTES
from tests.support.application import WebApp, open_app, open_app_in, served
from tests.support.fakes import image_bytes
from tests.web.test_space import SPACE

JOIN, DATA = "/gradio_api/queue/join", "/gradio_api/queue/data"
ON_SPACE = {**SPACE, "OPENID_PROVIDER_URL": "https://huggingface.co"}
SPACE_URL = "https://me.hf.space"


@pytest.fixture
def web_app(engine: Engine, store: Store, tmp_path: Path) -> Iterator[WebApp]:
    """The application with users."""
    with open_app(engine, store, tmp_path) as web_app:
        yield web_app


@pytest.fixture
def space(engine: Engine, store: Store, tmp_path: Path) -> Iterator[WebApp]:
    """The application as a Space."""
    with open_app(engine, store, tmp_path, roles={}, **ON_SPACE) as web_app:
        web_app.client.base_url = SPACE_URL
        yield web_app


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebApp]:
    """The application with users, for calls that are rejected before they change anything."""
    with open_app_in(tmp_path_factory.mktemp("shared")) as (web_app, _):
        yield web_app


@pytest.fixture(scope="module")
def callers(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[dict[str, TestClient], Path]]:
    """A client of each kind, and the directory of the data of both applications."""
    folder = tmp_path_factory.mktemp("callers")
    with (
        open_app_in(folder) as (web_app, _),
        open_app_in(folder, roles={}, **ON_SPACE) as (space, _),
    ):
        space.client.base_url = SPACE_URL
        clients = {
            "visitor": space.client,
            "viewer": web_app.signed_in("vera"),
            "admin": web_app.signed_in("root"),
            "key": web_app.with_key(Permission.CLASSIFY),
        }
        yield clients, folder


@pytest.fixture
def asked() -> Iterator[tuple[str, list[str]]]:
    """A server that records requested paths; its URL, and the paths."""
    paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(image_bytes(9))

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/a.png", paths
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Fail when the block takes longer: a stream that is opened by mistake never ends."""

    def end(*_: object) -> None:
        raise TimeoutError

    previous = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


@pytest.fixture
def no_private_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes Gradio treat loopback addresses as public."""
    import safehttpx

    monkeypatch.setattr(safehttpx, "is_public_ip", lambda _: True)


def file(path: str) -> dict[str, Any]:
    """A file reference as gradio_client sends it."""
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


def endpoint(client: TestClient) -> int:
    """The index of `/classify`."""
    config = client.get("/config").json()
    (number,) = [f["id"] for f in config["dependencies"] if f["api_name"] == "classify"]
    return int(number)


def call(client: TestClient, *data: Any, session: str = "s", path: str = JOIN) -> Any:
    """Join the queue for `/classify`."""
    body = {"data": data, "fn_index": endpoint(client), "session_hash": session}
    return client.post(path, json=body, headers={"x-forwarded-host": "x"})


def upload(client: TestClient) -> str:
    """Upload a file; its path on the server."""
    answer = client.post("/gradio_api/upload", files={"files": ("a.png", image_bytes(9))})
    (path,) = answer.json()
    return str(path)


def results(client: TestClient, session: str = "s") -> str:
    """The events of a session until all its calls have completed."""
    with client.stream("GET", DATA, params={"session_hash": session}) as stream:
        assert stream.headers["cache-control"] == "private, no-store"
        return "".join(stream.iter_text())


def left(tmp_path: Path) -> list[Path]:
    """All files and directories in the uploads directory."""
    return list((tmp_path / "uploads").rglob("*"))


@pytest.mark.usefixtures("no_private_addresses")
@pytest.mark.parametrize("who", ["visitor", "viewer", "admin", "key"])
@pytest.mark.parametrize("nested", [False, True])
def test_no_url_is_fetched(
    callers: tuple[dict[str, TestClient], Path],
    asked: tuple[str, list[str]],
    monkeypatch: pytest.MonkeyPatch,
    who: str,
    nested: bool,
) -> None:
    """For every caller and position of the URL: no request is made and no file is stored."""
    url, paths = asked
    clients, folder = callers
    monkeypatch.setenv("GRADIO_TEMP_DIR", str((folder / "uploads").resolve()))  # was cleared
    refused = call(clients[who], [{"inner": file(url)}] if nested else file(url))
    assert (refused.status_code, refused.json()["error"]["kind"]) == (404, "not_found")
    time.sleep(0.2)  # were it accepted, it would be fetched by now
    assert paths == []
    assert left(folder) == []


@pytest.mark.usefixtures("no_private_addresses")
def test_no_path_bypasses_the_check(
    web_app: WebApp, space: WebApp, asked: tuple[str, list[str]], tmp_path: Path
) -> None:
    """A decorated path cannot delete uploads of others, fetch a URL, or fill the disk."""
    path = upload(web_app.signed_in("ann"))
    before = left(tmp_path)
    everyone = str(Path(path).parents[1] / "zz")  # its directory would be deleted with it
    url, paths = asked
    for client in (web_app.signed_in("bob"), web_app.with_key(Permission.CLASSIFY), space.client):
        for named in (everyone, path, url):
            for ending in ("%0a", "%0A%0a", "%00", ";", "%3b", "/%2e", "%2f"):
                refused = call(client, file(named), path=JOIN + ending)
                assert (refused.status_code, refused.json()["error"]["kind"]) == (400, "request")
    time.sleep(0.2)  # were it accepted, it would be deleted or fetched by now
    assert paths == []
    assert left(tmp_path) == before


def test_the_handler_checks_the_owner_itself(
    web_app: WebApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The owner of a file is checked again where it is read and deleted."""
    path = Path(upload(web_app.signed_in("ann")))
    bob = web_app.signed_in("bob")
    everyone = path.parents[1] / "zz"
    everyone.touch()
    monkeypatch.setattr("nsfw_app.web.middleware.gradio_calls._files", lambda _: [])
    for foreign in (path, everyone):
        assert call(bob, file(str(foreign))).status_code == 200
        assert "No such upload of yours" in results(bob)
        assert path.is_file()
        assert everyone.is_file()


def test_only_own_uploads_are_accepted(web_app: WebApp, tmp_path: Path) -> None:
    """Files of others, path traversal and other files of the server are not found."""
    ann, bob = web_app.signed_in("ann"), web_app.signed_in("bob")
    path = upload(ann)
    own = upload(bob)
    around = str(Path(own).parent / ".." / ".." / Path(path).parent.parent.name / "x" / "a.png")
    for foreign in (path, around, "/etc/hostname", "", "a.png", "\0", str(tmp_path / "review.db")):
        assert call(bob, file(foreign)).status_code == 404, foreign
    assert Path(path).is_file()
    assert call(bob, file(own)).status_code == 200


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 100_000, b"\xff", b'"text"', b"null"])
def test_invalid_json_is_rejected(shared: WebApp, body: bytes) -> None:
    """Rejected with a client error."""
    answer = shared.signed_in("ann").post(JOIN, content=body)
    assert 400 <= answer.status_code < 500


@pytest.mark.parametrize(
    "changes",
    [
        {"fn_index": -1},
        {"fn_index": 10**6},
        {"fn_index": 10**30},
        {"fn_index": "x"},
        {"fn_index": "0"},
        {"fn_index": None},
        {"fn_index": True},
        {"fn_index": 1.5},
        {"session_hash": ""},
        {"session_hash": None},
        {"session_hash": 5},
        {"session_hash": "x" * 101},
        {"data": {}},
        {"data": None},
        {"data": "x"},
        {"data": []},
        {"trigger_id": "x"},
        {"trigger_id": -1},
        {"trigger_id": 10**30},
        {"event_id": 5},
        {"batched": "x"},
        {"simple_format": []},
        {"oauth_token": 5},
    ],
    ids=str,
)
def test_malformed_call_is_rejected(
    shared: WebApp, changes: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    """400 in the common error shape with the field's name, and no traceback in the log."""
    ann = shared.signed_in("ann")
    body = {"data": [None], "fn_index": endpoint(ann), "session_hash": "s", **changes}
    for sent in (body, {key: value for key, value in body.items() if key not in changes}):
        if sent is not body and next(iter(changes)) not in {"data", "fn_index", "session_hash"}:
            continue  # not required
        response = ann.post(JOIN, json=sent)
        error = response.json()["error"]
        assert (response.status_code, error["kind"]) == (400, "request")
        assert next(iter(changes)) in error["message"]
        assert error["request_id"] == response.headers["x-request-id"]
    assert "Traceback" not in "".join(capfd.readouterr())


@pytest.mark.parametrize(
    "changes",
    [
        {"event_id": ""},
        {"event_id": None},
        {"fn_index": "x"},
        {"fn_index": -1},
        {"session_hash": 1},
    ],
    ids=str,
)
def test_malformed_cancellation_is_rejected(shared: WebApp, changes: dict[str, Any]) -> None:
    """400 in the common error shape with the field's name."""
    body = {"event_id": "e", "fn_index": 0, "session_hash": "s", **changes}
    response = shared.signed_in("ann").post("/gradio_api/cancel", json=body)
    assert (response.status_code, response.json()["error"]["kind"]) == (400, "request")
    assert next(iter(changes)) in response.json()["error"]["message"]


def test_errors_of_gradio_have_the_shape_of_all_errors(
    web_app: WebApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gradio's own 4xx and 5xx responses are translated."""
    ann = web_app.signed_in("ann")
    blocks = web_app.client.app.routes[-1].app.blocks
    for method, path, sent, status, kind in (
        ("POST", "/gradio_api/reset", {"json": {}}, 422, "request"),
        ("POST", "/gradio_api/reset", {"json": {"event_id": 5}}, 422, "request"),
        ("GET", "/assets/nothing.js", {}, 404, "not_found"),
        ("GET", "/static/nothing.png", {}, 404, "not_found"),
    ):
        response = ann.request(method, path, **sent)
        assert (response.status_code, response.json()["error"]["kind"]) == (status, kind)
        assert response.json()["error"]["message"]

    async def push(**_: Any) -> tuple[bool, str, str]:
        return False, "The queue has a fault.", "error"

    monkeypatch.setattr(blocks._queue, "push", push)
    response = call(ann, file(upload(ann)))
    assert response.status_code == 400
    assert response.json()["error"]["message"] == "The queue has a fault."


def test_a_call_is_limited(web_app: WebApp) -> None:
    """A body over the limit of calls is rejected."""
    answer = web_app.signed_in("ann").post(JOIN, content=b" " * (MAX_CALL_BYTES + 1))
    assert (answer.status_code, answer.json()["error"]["kind"]) == (413, "request_too_large")


def test_a_full_queue_is_overloaded(
    web_app: WebApp, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full queue is 503 in the common error shape with Retry-After."""
    client = web_app.signed_in("ann")
    blocks = web_app.client.app.routes[-1].app.blocks
    assert blocks._queue.max_size is not None
    monkeypatch.setattr(blocks._queue, "max_size", 0)
    full = call(client, file(upload(client)))
    assert (full.status_code, full.json()["error"]["kind"]) == (503, "overloaded")
    assert int(full.headers["retry-after"]) > 0


def test_a_key_without_the_queue_scope_queues_nothing(
    web_app: WebApp, store: Store, tmp_path: Path, engine: Engine
) -> None:
    """With the scope `classify` an image is classified, and neither queued nor stored."""
    path = tmp_path / "band.png"
    path.write_bytes(image_bytes(128))  # a score in the review band
    client = web_app.with_key(Permission.CLASSIFY)
    with served(web_app.client.app) as url:
        headers = {"Authorization": client.headers["authorization"]}
        program = Client(url, headers=headers, verbose=False)
        review = program.predict(handle_file(path), api_name="/classify")
    assert review["action"] == "review"
    assert not engine.has_preview(review["sha256"])
    assert engine.queue.waiting("cat") == 0


def test_a_viewer_queues_nothing(web_app: WebApp, store: Store, engine: Engine) -> None:
    """A viewer's image is classified and shown; only callers with the permission queue it."""
    query = {"name": "a.png", "source": "gallery"}
    for name, waiting in (("vera", 0), ("ann", 1)):
        data = image_bytes(128 + waiting)
        card = web_app.signed_in(name).post("/desk/images", params=query, content=data).json()
        assert card["action"] == "review"
        assert engine.has_preview(card["sha256"])
        assert engine.queue.waiting("cat") == waiting


def test_a_session_belongs_to_the_caller_that_used_it_first(
    web_app: WebApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another caller cannot join it, read its results, or cancel its calls."""
    blocks = web_app.client.app.routes[-1].app.blocks
    monkeypatch.setattr(blocks._queue, "active_jobs", [])  # all calls wait
    ann, bob, key = web_app.signed_in("ann"), web_app.signed_in("bob"), web_app.with_every_scope()
    event = call(ann, file(upload(ann)), session="anns").json()["event_id"]
    for other in (bob, key):
        with time_limit(20):
            responses = (
                call(other, file(upload(other)), session="anns"),
                other.get(DATA, params={"session_hash": "anns"}),
                cancel(other, "anns", event),
            )
        for refused in responses:
            assert (refused.status_code, refused.json()["error"]["kind"]) == (404, "not_found")
    call(bob, file(upload(bob)), session="bobs")
    assert cancel(bob, "bobs", event).status_code == 404
    assert cancel(ann, "anns", event).status_code == 200


def cancel(client: TestClient, session: str, event: str) -> Any:
    """Cancel a call."""
    body = {"session_hash": session, "event_id": event, "fn_index": 0}
    return client.post("/gradio_api/cancel", json=body)


@pytest.mark.parametrize("query", ["", "?session_hash=a", "?session_hash=a&session_hash=b"])
def test_an_unknown_session_is_rejected_without_traceback(
    web_app: WebApp, query: str, caplog: pytest.LogCaptureFixture
) -> None:
    """404 or 400 before a stream starts, without a traceback in the log."""
    refused = web_app.signed_in("ann").get(DATA + query)
    assert refused.status_code in {400, 404}
    assert refused.headers["content-type"] == "application/json"
    assert caplog.records == []


def test_a_session_that_gradio_has_forgotten_is_unknown(
    web_app: WebApp, caplog: pytest.LogCaptureFixture
) -> None:
    """Its owner gets 404 too, because Gradio would start a stream and abort it."""
    ann = web_app.signed_in("ann")
    call(ann, file(upload(ann)))
    web_app.client.app.routes[-1].app.blocks._queue.pending_messages_per_session.pop("s")
    assert ann.get(DATA, params={"session_hash": "s"}).status_code == 404
    assert caplog.records == []


def test_one_caller_cannot_evict_sessions_of_others(
    web_app: WebApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond its share, a caller loses its own oldest session; long session ids are rejected."""
    monkeypatch.setattr("nsfw_app.web.middleware.gradio_sessions.MAX_SESSIONS", 8)
    ann, bob = web_app.signed_in("ann"), web_app.signed_in("bob")
    call(bob, file(upload(bob)), session="bobs")
    for session in "abc":
        call(ann, file(upload(ann)), session=session)
    assert ann.get(DATA, params={"session_hash": "a"}).status_code == 404
    assert "process_completed" in results(ann, "c")
    assert "process_completed" in results(bob, "bobs")
    assert call(ann, file(upload(ann)), session="x" * 101).status_code == 400


def test_results_are_not_cached(web_app: WebApp) -> None:
    """The stream of a session, the configuration and every call have no-store."""
    ann = web_app.signed_in("ann")
    joined = call(ann, file(upload(ann)))
    assert "process_completed" in results(ann)
    assert joined.headers["cache-control"] == "private, no-store"
    assert ann.get("/config").headers["cache-control"] == "private, no-store"
    assert "no-store" not in ann.get("/theme.css").headers.get("cache-control", "")


def test_one_caller_cannot_fill_the_queue(
    web_app: WebApp, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One caller holds a quarter of the queue at most; others can still join."""
    ann, bob = web_app.signed_in("ann"), web_app.signed_in("bob")
    blocks = web_app.client.app.routes[-1].app.blocks
    monkeypatch.setattr(blocks._queue, "max_size", 8)
    monkeypatch.setattr(blocks._queue, "active_jobs", [])  # nothing is taken from the queue
    for _ in range(2):
        assert call(ann, file(upload(ann))).status_code == 200
    refused = call(ann, file(upload(ann)))
    assert (refused.status_code, refused.json()["error"]["kind"]) == (429, "too_many_requests")
    assert call(bob, file(upload(bob)), session="bobs").status_code == 200


def test_the_page_ignores_its_query(web_app: WebApp) -> None:
    """Queries cannot open another page or a saved state."""
    ann = web_app.signed_in("ann")
    for query in ("page=x", "deep_link=aaaa", "page=x&deep_link=%00../x"):
        assert ann.get(f"/?{query}").status_code == 200
