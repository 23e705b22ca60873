"""What reaches Gradio's queue: calls that name only the caller's own uploads and sessions.

Gradio itself fetches any URL, and moves any upload, that stands where a component expects a file,
before a handler is asked whether the caller may call it at all.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nsfw_app.errors import NSFWReviewError, Overloaded, RequestError
from nsfw_app.web.auth.callers import caller_of
from nsfw_app.web.http.bodies import again
from nsfw_app.web.http.errors import problem
from nsfw_app.web.http.shares import share_key
from nsfw_app.web.middleware.gradio_routes import CANCEL, DATA, JOIN
from nsfw_app.web.middleware.gradio_sessions import GradioSessions
from nsfw_app.web.page.uploads import Uploads

MAX_ID_CHARACTERS = 100  # of a session or event; Gradio's have 11 and 32
FULL = 503  # the status of Gradio's answer
RETRY_AFTER_S = 1


class GradioCalls:
    """ASGI middleware; see the module.

    Args:
        app: What follows.
        uploads: Where callers' files lie.
        sessions: Which session belongs to whom.
    """

    def __init__(self, app: ASGIApp, *, uploads: Uploads, sessions: GradioSessions) -> None:
        self._app = app
        self._uploads = uploads
        self._sessions = sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a call on, or refuse it."""
        if scope["type"] != "http" or scope["path"] not in {JOIN, DATA, CANCEL}:
            if scope.get("path") == "/":  # a query could name another page, or a saved state
                scope["query_string"] = b""
            await self._app(scope, receive, send)
            return
        scope["state"]["uploads"] = self._uploads
        request = Request(scope, receive)
        try:
            if scope["path"] == DATA:
                self._sessions.check(_session_of_query(request), share_key(request))
                await self._app(scope, receive, send)
                return
            data = await request.body()  # within the guard's limits
            self._check(_parsed(data), request)
            await self._pass_on(scope, again(data, receive), send)
        except (NSFWReviewError, MemoryError) as error:
            await problem(request, error)(scope, receive, send)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let Gradio answer, but for a full queue, which it tells in its own way.

        Raises:
            Overloaded: The queue is full.
        """
        full = False

        async def send_unless_full(message: Message) -> None:
            nonlocal full
            full = full or message.get("status") == FULL
            if not full:
                await send(message)

        await self._app(scope, receive, send_unless_full)
        if full:
            raise Overloaded(
                "Too many calls are waiting already. Try again in a moment.",
                retry_after_s=RETRY_AFTER_S,
            )

    def _check(self, call: dict[str, Any], request: Request) -> None:
        """Refuse a call that names something of another caller's.

        Raises:
            NotFound: A file or the session is not the caller's.
            TooManyRequests: The caller has used up its part of the queue.
        """
        for path in _files(call):
            self._uploads.check_owner(Path(str(path)), caller_of(request))
        session, owner = _text(call, "session_hash"), share_key(request)
        if request.scope["path"] == JOIN:
            self._sessions.join(session, owner)
        else:
            self._sessions.check(session, owner, event=_text(call, "event_id"))


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        call = json.loads(data)  # as Gradio reads it
    except (ValueError, RecursionError):
        raise RequestError("The call is not JSON.") from None
    if not isinstance(call, dict):
        raise RequestError("The call is not a JSON object.")
    return call


def _text(call: dict[str, Any], name: str) -> str:
    if not isinstance(value := call.get(name), str):
        raise RequestError(f"{name} is missing, or is not a text.")
    if len(value) > MAX_ID_CHARACTERS:
        raise RequestError(f"{name} has more than {MAX_ID_CHARACTERS} characters.")
    return value


def _session_of_query(request: Request) -> str:
    sessions = request.query_params.getlist("session_hash")
    if len(sessions) != 1:
        raise RequestError("session_hash is needed once.")
    return sessions[0]


def _files(value: Any) -> Iterator[Any]:
    """The path of everything in a call that Gradio would take for a file."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if "path" in value and "meta" in value:
                yield value["path"]
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
