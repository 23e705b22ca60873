"""Authentication and deny-by-default access to routes.

- The caller of each request is identified here, once.
- Unusual paths and cross-site writes are rejected. Routes that are neither the application's nor
  opened for the page are not found. Callers without permissions reach only the sign-in.
- Bodies without images are read here, within their limits.
- Every response has the request id, forbids content sniffing and cross-origin reads; responses
  with images, decisions or names are not cached.
"""

import random
import re
from collections.abc import Mapping
from contextlib import ExitStack
from types import MappingProxyType

from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection, Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nsfw_app.concurrency_limits import quarter
from nsfw_app.errors import Forbidden, NotFound, NotSignedIn, NSFWReviewError
from nsfw_app.rules.permissions import ANONYMOUS, Caller
from nsfw_app.server_log import LoggedRequest, set_request
from nsfw_app.web.auth.callers import Callers
from nsfw_app.web.auth.origin import check_origin
from nsfw_app.web.http.bodies import body, check_charset, replay
from nsfw_app.web.http.error_pages import wants_page
from nsfw_app.web.http.errors import problem
from nsfw_app.web.http.forwarding import root_path_of
from nsfw_app.web.http.json_scanner import JsonCounter, JsonLimits, parse
from nsfw_app.web.http.shares import share_key
from nsfw_app.web.http.slots import Slot, SlotPool
from nsfw_app.web.middleware import gradio_routes
from nsfw_app.web.middleware.paths import check_target

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
PUBLIC: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "/login": frozenset({"GET", "POST"}),
        "/login/hub": frozenset({"GET"}),
        "/login/provider": frozenset({"GET"}),
        "/login/callback": frozenset({"GET"}),
        "/healthz": frozenset({"GET"}),
        "/readyz": frozenset({"GET"}),
        "/favicon.ico": frozenset(
            {"GET"}
        ),  # this and the next are Gradio's; browsers request them by themselves
        "/robots.txt": frozenset({"GET"}),
    }
)
PUBLIC_ASSETS = "/desk/assets/"
APP_ROUTES: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        **PUBLIC,
        "/logout": frozenset({"POST"}),
        "/metrics": frozenset({"GET"}),
        "/gradio_api/upload": frozenset({"POST"}),
    }
)
MOUNTED_APPS = ("/desk/", "/v1/")
UPLOADS = (
    "/desk/images",
    "/desk/pictures",
    "/v1/",
    "/gradio_api/upload",
)  # their routes limit the body
MAX_PUBLIC_BYTES = 16_384  # of a form from an anonymous caller
MAX_JSON_BYTES = 8_000_000  # 1,000 decisions with long notes
PAGE_JSON = JsonLimits(max_parts=100_000)  # 1,000 decisions with all lists full have 93,000
PARSED_ON_LOOP_BYTES = 262_144  # in a few milliseconds; larger bodies are parsed in a thread
MAX_CALL_BYTES = 1_000_000
CALL_JSON = JsonLimits(max_parts=2_000)  # a Gradio call has some dozens
MAX_ARRIVING = 256  # such bodies at once
CACHEABLE = re.compile(
    r"/(desk/assets|assets|static|svelte)/.*|(/gradio_api)?/theme\.css|/favicon\.ico|/robots\.txt"
    r"|/manifest\.json|/pwa_icon.*|/"
)
NOT_FOUND = "Not found."
REQUEST_ID = re.compile(r"[\w.-]{1,64}")


class AuthMiddleware:
    """ASGI middleware; see the module docstring."""

    def __init__(self, app: ASGIApp, *, callers: Callers) -> None:
        self._app = app
        self._callers = callers
        self._slots = SlotPool(MAX_ARRIVING, quarter(MAX_ARRIVING), caller_bytes=4 * MAX_JSON_BYTES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve or reject one request."""
        if scope["type"] == "websocket":  # not supported
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        connection, path = Request(scope, receive), scope["path"]
        state = scope.setdefault("state", {})
        state["request_id"] = _request_id(connection)
        state["caller"] = ANONYMOUS
        set_request(LoggedRequest(state["request_id"]))

        async def send_protected(message: Message) -> None:
            if message["type"] == "http.response.start":
                _protect(MutableHeaders(scope=message), path, state["request_id"])
            await send(message)

        with ExitStack() as stack:
            app = self._app
            try:
                check_target(scope)
                rejection = await self._reject(connection, path)
                if rejection is not None:
                    app = rejection
                elif scope["method"] not in SAFE_METHODS and not path.startswith(UPLOADS):
                    slot = Slot(self._slots, share_key(connection))
                    stack.callback(slot.release)
                    receive = replay(await _body(connection, path, slot), receive)
            except (NSFWReviewError, MemoryError) as error:
                app = problem(connection, error)
            await app(scope, receive, send_protected)

    async def _reject(self, connection: HTTPConnection, path: str) -> ASGIApp | None:
        """The response to a rejected request; None for an accepted one.

        Raises:
            NSFWReviewError: The request is rejected with this error.
        """
        method = connection.scope["method"]
        as_get = "GET" if method == "HEAD" else method
        if method not in SAFE_METHODS:
            check_origin(connection)
        if as_get not in APP_ROUTES.get(path, {as_get}):
            raise NotFound(NOT_FOUND)  # Gradio may have a route of this name
        if path in PUBLIC or path.startswith(PUBLIC_ASSETS):
            return None
        caller = await run_in_threadpool(self._callers.identify, connection)
        state = connection.scope["state"]
        state["caller"] = caller
        if caller.owner is not None:
            set_request(LoggedRequest(state["request_id"], caller.name))
        if path.startswith(gradio_routes.HEARTBEAT):
            return Response(status_code=204)  # with which a browser stops reconnecting
        if _is_app_route(path):
            return _sign_in(connection, caller)
        allowed = gradio_routes.is_open(method, path, caller)
        if allowed is None:
            raise NotFound(NOT_FOUND)
        return None if allowed else _sign_in(connection, caller) or _forbid(connection, caller)


async def _body(request: Request, path: str, slot: Slot) -> bytes:
    """Read a body without images within the limits of its route."""
    check_charset(request)
    if path in PUBLIC:
        return await body(request, max_bytes=MAX_PUBLIC_BYTES, arrival=slot)
    is_call = path.startswith(gradio_routes.API)
    max_bytes, limits = (MAX_CALL_BYTES, CALL_JSON) if is_call else (MAX_JSON_BYTES, PAGE_JSON)
    check = JsonCounter(limits).feed
    data = await body(request, max_bytes=max_bytes, check=check, arrival=slot)
    if len(data) > PARSED_ON_LOOP_BYTES:
        await run_in_threadpool(parse, data)
    elif data:
        parse(data)  # more strictly than the parsers that follow
    return data


def _is_app_route(path: str) -> bool:
    """Whether a path is the application's; other paths are Gradio's, which is mounted last."""
    return path in APP_ROUTES or path.startswith(MOUNTED_APPS)


def _sign_in(connection: HTTPConnection, caller: Caller) -> Response | None:
    """The response to a caller without permissions; None for others."""
    if caller.permissions:
        return None
    if connection.scope["method"] == "GET" and wants_page(connection):
        return RedirectResponse(root_path_of(connection) + "/login", 303)
    return problem(connection, NotSignedIn("Sign in at /login, or send an API key."))


def _forbid(connection: HTTPConnection, caller: Caller) -> Response:
    return problem(connection, Forbidden(f"{caller.name} does not have the permission."))


def _request_id(connection: HTTPConnection) -> str:
    given = connection.headers.get("x-request-id", "")
    if REQUEST_ID.fullmatch(given):
        return given
    return f"{random.getrandbits(128):032x}"  # no secret; uuid4 makes a system call


def _protect(headers: MutableHeaders, path: str, request_id: str) -> None:
    headers["X-Request-ID"] = request_id
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Referrer-Policy"] = "same-origin"  # with no-referrer, a form sends no Origin
    headers["Cross-Origin-Resource-Policy"] = "same-origin"
    if not CACHEABLE.fullmatch(path):
        headers["Cache-Control"] = "private, no-store"
    for name in [name for name in headers if name.startswith("access-control-")]:
        del headers[name]
