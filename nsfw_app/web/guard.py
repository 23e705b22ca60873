"""What every request passes before anything else sees it.

The caller is identified here, once. Unusual paths and writes from other sites' pages are refused;
a route that is neither ours nor opened for the page does not exist; a caller without permissions
gets no further than the sign-in. Every response forbids guessing its type, carries the request's
id, and allows no other site to read it; responses that show an image or a decision are not kept
by caches.
"""

import re
import uuid
from collections.abc import Mapping
from types import MappingProxyType

from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nsfw_app.access import STRANGER, Caller
from nsfw_app.errors import Forbidden, NotFound, NotSignedIn, NSFWReviewError
from nsfw_app.web import gradio_routes
from nsfw_app.web.bodies import limited
from nsfw_app.web.callers import Callers
from nsfw_app.web.forwarding import root_path_of
from nsfw_app.web.origin import check_origin
from nsfw_app.web.pages import wants_page
from nsfw_app.web.paths import check_target
from nsfw_app.web.problems import problem

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
OURS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        **PUBLIC,
        "/logout": frozenset({"POST"}),
        "/metrics": frozenset({"GET"}),
        "/gradio_api/upload": frozenset({"POST"}),
    }
)
OUR_APPLICATIONS = ("/desk/", "/v1/")
MAX_PUBLIC_BYTES = 16_384  # of a form that anyone may send
MAX_JSON_BYTES = 8_000_000  # of 500 answers with notes, and then some
UPLOADS = ("/desk/images", "/desk/pictures", "/v1/", "/gradio_api/upload")  # limited by themselves
REQUEST_ID = re.compile(r"[\w.-]{1,64}")


class Guard:
    """ASGI middleware; see the module."""

    def __init__(self, app: ASGIApp, *, callers: Callers) -> None:
        self._app = app
        self._callers = callers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve or refuse one request."""
        if scope["type"] == "websocket":  # nothing here speaks it
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        path = scope["path"]
        state = scope.setdefault("state", {})
        state["request_id"] = _request_id(connection)
        state["caller"] = STRANGER

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                _protect(MutableHeaders(scope=message), path, state["request_id"])
            await send(message)

        if not path.startswith(UPLOADS):
            receive = limited(receive, MAX_PUBLIC_BYTES if path in PUBLIC else MAX_JSON_BYTES)
        app = await self._refusal(connection, path) or self._app
        await app(scope, receive, send_guarded)

    async def _refusal(self, connection: HTTPConnection, path: str) -> ASGIApp | None:
        """The response to a request that goes no further, or None."""
        method = connection.scope["method"]
        as_get = "GET" if method == "HEAD" else method
        try:
            check_target(connection.scope)
            if method not in SAFE_METHODS:
                check_origin(connection)
            if as_get not in OURS.get(path, {as_get}):
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
        except NSFWReviewError as error:
            return problem(connection, error)


def _is_ours(path: str) -> bool:
    """Whether a path is ours, and not for Gradio, which is mounted below everything."""
    return path in OURS or path.startswith(OUR_APPLICATIONS)


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
    if _is_ours(path) and not path.startswith(PUBLIC_ASSETS):
        headers["Cache-Control"] = "private, no-store"
    for name in [name for name in headers if name.startswith("access-control-")]:
        del headers[name]
