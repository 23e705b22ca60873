"""Unusual paths are rejected before routing, for every route."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import unquote

import anyio
import pytest
from starlette.routing import Mount
from starlette.types import ASGIApp, Message

from nsfw_app.errors import RequestError
from nsfw_app.models.loader import Loaded, ModelLoader
from nsfw_app.review.engine import Engine
from nsfw_app.review.policies import PolicyBook
from nsfw_app.rules.permissions import Permission
from nsfw_app.store import Store
from nsfw_app.web.middleware.paths import MAX_PATH_BYTES, check_target
from tests.support.application import WebApp, open_app
from tests.support.fakes import LIMITS, FakeClassifier

DECORATIONS = [
    *("{path}%0a", "{path}%0A%0A", "{path}%00", "{path}%0d", "{path}%09", "{path}%7f", "{path}%1f"),
    *("{path}\n", "{path}\t", "{path}\0", "%0a{path}", "{path}%c2%85", "{path}%e2%80%a8"),
    *("{path};", "{path};a=b", "{path}%3b", "/{path}", "{path}//", "//host{path}", "{path}/."),
    *(
        "/.{path}",
        "/x/..{path}",
        "/x/%2e%2e{path}",
        "/%2E{path}",
        "{path}/..",
        "{path}/%2e%2e/join",
    ),
    *("{path}\\", "{path}%5c", "{path}%2f", "%2f{path}", "{path}%252f", "{path}%2500", "{path}%"),
    *("{path}%ff", "{path}%ed%a0%80", "{path}%c0%af", "{path}%e2%80%8b", "http://host{path}"),
]
NORMAL = [
    "/",
    "/desk/status",
    "/%64esk/status",
    "/v1/images/%C3%A9",
    "/a%20b",
    "/a.b/..c/d..",
    "/a/",
]


@pytest.fixture(scope="module")
def web_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebApp]:
    """The application with users and a model that is not used."""
    path = tmp_path_factory.mktemp("paths")
    store = Store(path / "review.db", previews_dir=path / "images", journal_mode="wal")
    loader = ModelLoader("fake", lambda: Loaded(FakeClassifier()))
    engine = Engine(store=store, loader=loader, limits=LIMITS, policies=PolicyBook(store.policies))
    with open_app(engine, store, path) as web_app:
        yield web_app


def target(raw: str, query: bytes = b"") -> dict[str, Any]:
    """A scope with this path, as from uvicorn."""
    path = unquote(raw)
    return {"path": path, "raw_path": raw.encode("utf-8", "surrogatepass"), "query_string": query}


@pytest.mark.parametrize("path", NORMAL)
def test_a_normal_path_passes(path: str) -> None:
    """Letters, spaces and dots in a segment are accepted, encoded or not."""
    check_target(target(path))


@pytest.mark.parametrize("decoration", DECORATIONS)
@pytest.mark.parametrize("with_raw_path", [True, False])
def test_an_unusual_path_is_rejected(decoration: str, with_raw_path: bool) -> None:
    """Also if the server provides the decoded path only."""
    scope = target(decoration.replace("{path}", "/gradio_api/queue/join"))
    if not with_raw_path:
        del scope["raw_path"]
        if "%2f" in decoration.lower():  # then it is an ordinary slash
            return
    with pytest.raises(RequestError, match=r"^The path "):
        check_target(scope)


def test_the_message_has_the_fault() -> None:
    """The message has the length limit, or the fault."""
    with pytest.raises(RequestError, match=f"2001 bytes; the limit is {MAX_PATH_BYTES}"):
        check_target(target("/" + "a" * MAX_PATH_BYTES))
    with pytest.raises(RequestError, match="not percent-encoded"):
        check_target(target("/é"))
    with pytest.raises(RequestError, match="The query"):
        check_target(target("/", "é".encode()))


def gradio_routes(routes: Any) -> Iterator[tuple[str, str]]:
    """Methods and paths of routes with parameters filled in."""
    for route in routes:
        if included := getattr(route, "original_router", None):
            yield from gradio_routes(included.routes)
        for method in getattr(route, "methods", ()):
            yield method, re.sub("{.*?}", "x", route.path)


async def status_of(
    app: ASGIApp,
    method: str,
    raw: str,
    headers: Mapping[str, str],
    *,
    body: bytes = b"{}",
    query: bytes = b"",
) -> int:
    """The status of a request with exactly this path."""
    messages = iter([{"type": "http.request", "body": body, "more_body": False}])
    statuses: list[int] = []
    answered = anyio.Event()

    async def receive() -> Message:
        if message := next(messages, None):
            return message
        await answered.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])
            answered.set()

    sent = {"host": "review.test", "content-type": "application/json", **headers}
    scope = {
        **target(raw, query),
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "root_path": "",
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in sent.items()],
        "client": ("127.0.0.1", 1),
        "server": ("review.test", 80),
        "state": {},
    }

    await asyncio.wait_for(app(scope, receive, send), 30)
    return statuses[0]


def run(function: Callable[[], Awaitable[None]]) -> None:
    """Run in a thread without an event loop: the browser tests keep one in this thread."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(anyio.run, function).result()


def test_no_decoration_opens_a_gradio_route(web_app: WebApp) -> None:
    """Each route, decoration and caller: 400, or the status of the plain route."""
    app: Any = web_app.client.app
    (page,) = [r.app for r in app.routes if isinstance(r, Mount) and not r.path]
    routes = set(gradio_routes(page.routes))
    assert {("POST", "/gradio_api/queue/join"), ("GET", "/gradio_api/file=x")} <= routes
    assert len(routes) > 60
    viewer = web_app.signed_in("vera").cookies
    callers = {
        "anonymous": {},
        "viewer": {"cookie": "; ".join(f"{name}={value}" for name, value in viewer.items())},
        "key": {"authorization": web_app.with_key(Permission.CLASSIFY).headers["authorization"]},
    }

    faults: list[str] = []

    async def ask_all() -> None:
        assert await status_of(app, "POST", "/gradio_api/queue/join", {}) == 401
        assert await status_of(app, "GET", "/gradio_api/file=x", {}) == 404
        for method, path in sorted(routes):
            for caller, headers in callers.items():
                for decoration in DECORATIONS:
                    raw = decoration.replace("{path}", path)
                    if await status_of(app, method, raw, headers) != 400:
                        faults.append(f"{caller}: {method} {raw!r}")

    run(ask_all)
    assert faults == []
