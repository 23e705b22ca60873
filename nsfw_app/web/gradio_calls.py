"""What reaches Gradio's queue: calls that name no file but the caller's own uploads.

Gradio itself fetches any URL, and moves any upload, that stands where a component expects a file,
before a handler is asked whether the caller may call it at all.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nsfw_app.access import Caller
from nsfw_app.errors import NSFWReviewError, Overloaded, RequestError
from nsfw_app.web.bodies import body
from nsfw_app.web.callers import caller_of
from nsfw_app.web.problems import problem
from nsfw_app.web.uploads import check_owner

JOIN = "/gradio_api/queue/join"
MAX_CALL_BYTES = 1_000_000
FULL = 503  # the status of Gradio's answer
RETRY_AFTER_S = 1


class GradioCalls:
    """ASGI middleware; see the module.

    Args:
        app: What follows.
        uploads: Where callers' files lie.
    """

    def __init__(self, app: ASGIApp, *, uploads: Path) -> None:
        self._app = app
        self._uploads = uploads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a call on, or refuse it."""
        if scope["type"] != "http" or scope["path"] != JOIN:
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            call = await body(request, max_bytes=MAX_CALL_BYTES)
            self._check(call, caller_of(request))
            await self._pass_on(scope, _again(call, receive), send)
        except NSFWReviewError as error:
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

    def _check(self, call: bytes, caller: Caller) -> None:
        try:
            files = list(_files(json.loads(call)))
        except (ValueError, RecursionError):
            raise RequestError("The call is not JSON.") from None
        for path in files:
            check_owner(Path(str(path)), caller, self._uploads)


def _files(value: Any) -> Iterator[Any]:
    """The path of everything in a call that Gradio would take for a file."""
    if isinstance(value, dict):
        if "path" in value and "meta" in value:
            yield value["path"]
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from _files(part)


def _again(call: bytes, receive: Receive) -> Receive:
    """The body that was read already, and then what else may come."""
    messages = iter([{"type": "http.request", "body": call, "more_body": False}])

    async def next_message() -> Message:
        return next(messages, None) or await receive()

    return next_message
