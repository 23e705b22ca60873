"""What every request passes before anything else sees it.

The caller is identified here, once. Unusual paths and writes from other sites' pages are refused;
a route that is neither ours nor opened for the page does not exist; a caller without permissions
gets no further than the sign-in. Bodies that carry no image are read here, within their limits.
Every response forbids guessing its type, carries the request's id, and allows no other site to
read it; responses that show an image, a decision or a name are not kept by caches.
"""

import re
import uuid
from collections.abc import Mapping
from contextlib import ExitStack
from types import MappingProxyType

from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection, Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nsfw_app.errors import Forbidden, NotFound, NotSignedIn, NSFWReviewError
from nsfw_app.rules.permissions import ANONYMOUS, Caller
from nsfw_app.web.auth.callers import Callers
from nsfw_app.web.auth.origin import check_origin
from nsfw_app.web.http.bodies import again, body, check_charset
from nsfw_app.web.http.error_pages import wants_page
from nsfw_app.web.http.errors import problem
from nsfw_app.web.http.json_scanner import JsonCounter, JsonLimits, parse
from nsfw_app.web.http.shares import share_key
from nsfw_app.web.http.slots import Slot, SlotPool
from nsfw_app.web.middleware import gradio_routes
from nsfw_app.web.middleware.forwarding import root_path_of
from nsfw_app.web.middleware.paths import check_target

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
PUBLIC: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "/login": frozenset({"GET", "POST"}),
        "/login/hub": frozenset({"GET"}),
        "/login/callback": frozenset({"GET"}),
        "/healthz": frozenset({"GET"}),
        "/readyz": frozenset({"GET"}),
        "/favicon.ico": frozenset({"GET"}),  # this and the next are Gradio's; browsers ask unasked
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
OUR_APPLICATIONS = ("/desk/", "/v1/")
UPLOADS = ("/desk/images", "/desk/pictures", "/v1/", "/gradio_api/upload")  # limited by themselves
MAX_PUBLIC_BYTES = 16_384  # of a form that anyone may send
MAX_JSON_BYTES = 8_000_000  # of 1,000 decisions with long notes
PAGE_JSON = JsonLimits(max_parts=100_000)  # 1,000 decisions with all reasons have 76,000
PARSED_ON_LOOP_BYTES = 262_144  # in a few milliseconds; larger bodies are parsed in a thread
MAX_CALL_BYTES = 1_000_000
CALL_JSON = JsonLimits(max_parts=2_000)  # a call of Gradio's has some dozens
MAX_ARRIVING = 256  # bodies of this kind
CACHEABLE = re.compile(
    r"/(desk/assets|assets|static|svelte)/.*|(/gradio_api)?/theme\.css|/favicon\.ico|/robots\.txt"
    r"|/manifest\.json|/pwa_icon.*|/"
)
REQUEST_ID = re.compile(r"[\w.-]{1,64}")


class AuthMiddleware:
    """ASGI middleware; see the module."""

    def __init__(self, app: ASGIApp, *, callers: Callers) -> None:
        self._app = app
        self._callers = callers
        self._places = SlotPool(MAX_ARRIVING, caller_bytes=4 * MAX_JSON_BYTES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve or refuse one request."""
        if scope["type"] == "websocket":  # nothing here speaks it
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        connection, path = Request(scope, receive), scope["path"]
        state = scope.setdefault("state", {})
        state["request_id"] = _request_id(connection)
        state["caller"] = ANONYMOUS

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                _protect(MutableHeaders(scope=message), path, state["request_id"])
            await send(message)

        with ExitStack() as stack:
            app = self._app
            try:
                check_target(scope)
                refusal = await self._reject(connection, path)
                if refusal is not None:
                    app = refusal
                elif scope["method"] not in SAFE_METHODS and not path.startswith(UPLOADS):
                    place = Slot(self._places, share_key(connection))
                    stack.callback(place.leave)
                    receive = again(await _body(connection, path, place), receive)
            except (NSFWReviewError, MemoryError) as error:
                app = problem(connection, error)
            await app(scope, receive, send_guarded)

    async def _reject(self, connection: HTTPConnection, path: str) -> ASGIApp | None:
        """The response to a request that goes no further, or None.

        Raises:
            NSFWReviewError: It goes no further either.
        """
        method = connection.scope["method"]
        as_get = "GET" if method == "HEAD" else method
        if method not in SAFE_METHODS:
            check_origin(connection)
        if as_get not in APP_ROUTES.get(path, {as_get}):
            raise NotFound("There is nothing here.")  # Gradio may have something of this name
        if path in PUBLIC or path.startswith(PUBLIC_ASSETS):
            return None
        caller = await run_in_threadpool(self._callers.identify, connection)
        connection.scope["state"]["caller"] = caller
        if path.startswith(gradio_routes.HEARTBEAT):
            return Response(status_code=204)  # to which a browser does not come back
        if _is_ours(path):
            return _sign_in(connection, caller)
        allowed = gradio_routes.is_open(method, path, caller)
        if allowed is None:
            raise NotFound("There is nothing here.")
        return None if allowed else _sign_in(connection, caller) or _forbid(connection, caller)


async def _body(request: Request, path: str, place: Slot) -> bytes:
    """A body that carries no image, within the limits of its route."""
    check_charset(request)
    if path in PUBLIC:
        return await body(request, max_bytes=MAX_PUBLIC_BYTES, arrival=place)
    is_call = path.startswith(gradio_routes.API)
    max_bytes, limits = (MAX_CALL_BYTES, CALL_JSON) if is_call else (MAX_JSON_BYTES, PAGE_JSON)
    check = JsonCounter(limits).feed
    data = await body(request, max_bytes=max_bytes, check=check, arrival=place)
    if len(data) > PARSED_ON_LOOP_BYTES:
        await run_in_threadpool(parse, data)
    elif data:
        parse(data)  # strictly, which the parser that follows is not
    return data


def _is_ours(path: str) -> bool:
    """Whether a path is ours, and not for Gradio, which is mounted below everything."""
    return path in APP_ROUTES or path.startswith(OUR_APPLICATIONS)


def _sign_in(connection: HTTPConnection, caller: Caller) -> Response | None:
    """Where to sign in, for a caller who may do nothing."""
    if caller.permissions:
        return None
    if connection.scope["method"] == "GET" and wants_page(connection):
        return RedirectResponse(root_path_of(connection) + "/login", 303)
    return problem(connection, NotSignedIn("Sign in at /login, or send an API key."))


def _forbid(connection: HTTPConnection, caller: Caller) -> Response:
    return problem(connection, Forbidden(f"{caller.name} may not do this."))


def _request_id(connection: HTTPConnection) -> str:
    given = connection.headers.get("x-request-id", "")
    return given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def _protect(headers: MutableHeaders, path: str, request_id: str) -> None:
    headers["X-Request-ID"] = request_id
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Referrer-Policy"] = "same-origin"  # with none, a form has no origin either
    headers["Cross-Origin-Resource-Policy"] = "same-origin"
    if not CACHEABLE.fullmatch(path):
        headers["Cache-Control"] = "private, no-store"
    for name in [name for name in headers if name.startswith("access-control-")]:
        del headers[name]
