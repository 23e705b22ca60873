"""What every request passes before anything else sees it.

Writes from other sites' pages are refused; Gradio's own file and proxy routes, which would serve
any upload to anyone, are closed; its heartbeat, which keeps one of a browser's six connections
busy in every tab, is ended at once; every response forbids guessing its type; what shows an image
or an answer is not kept by caches.
"""

from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nsfw_app.web.visitors import Visitors

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
CLOSED = ("/gradio_api/file", "/gradio_api/proxy", "/file", "/proxy")
HEARTBEAT = "/gradio_api/heartbeat/"
PRIVATE = "/desk/"
PUBLIC = "/desk/assets/"


class Guard:
    """ASGI middleware; see the module."""

    def __init__(self, app: ASGIApp, *, visitors: Visitors) -> None:
        self._app = app
        self._visitors = visitors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve or refuse one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        path = connection.url.path
        visitor = self._visitors.identify(connection)
        scope.setdefault("state", {})["visitor"] = visitor

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Referrer-Policy"] = "no-referrer"
                if path.startswith(PRIVATE) and not path.startswith(PUBLIC):
                    headers["Cache-Control"] = "private, no-store"
                if visitor.is_new or (visitor.secret and path == "/"):
                    headers.append("Set-Cookie", self._visitors.cookie(visitor))
            await send(message)

        app = self._short_answer(connection, path) or self._app
        await app(scope, receive, send_guarded)

    def _short_answer(self, connection: HTTPConnection, path: str) -> ASGIApp | None:
        origin = connection.headers.get("origin")
        if (
            origin
            and connection.scope["method"] not in SAFE_METHODS
            and urlsplit(origin).netloc != connection.headers.get("host")
        ):
            return PlainTextResponse("Writes from other sites are refused.", 403)
        if path.startswith(CLOSED):
            return PlainTextResponse("Not found.", 404)
        if path.startswith(HEARTBEAT):
            return Response(status_code=204)  # to which a browser does not come back
        return None
