"""Calls to Gradio's queue: validated, and limited to the caller's own uploads and sessions.

- For file inputs, Gradio fetches any URL or moves any uploaded file named in the call, before a
  handler can check the caller's permissions. Such a call is rejected here.
- Gradio fails with a traceback on some malformed calls. They are rejected here with a message.
- An error response of any of Gradio's routes gets the JSON shape of all other errors.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar

import gradio as gr
from fastapi import Request
from gradio.blocks import BlockFunction
from pydantic import BaseModel, Field, StrictInt, ValidationError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nsfw_app.errors import NSFWReviewError, Overloaded, RequestError
from nsfw_app.web.http.bodies import replay
from nsfw_app.web.http.errors import http_problem, problem
from nsfw_app.web.http.request_state import caller_of
from nsfw_app.web.http.shares import share_key
from nsfw_app.web.http.validation import describe
from nsfw_app.web.middleware.gradio_routes import CANCEL, DATA, JOIN, is_gradio
from nsfw_app.web.middleware.gradio_sessions import GradioSessions
from nsfw_app.web.middleware.gradio_uploads import Uploads

MAX_ID_CHARACTERS = 100  # of a session or event; Gradio's have 11 and 32
MAX_INDEX = 2**31 - 1  # of an endpoint or component; Gradio counts from 0
QUEUE_FULL = 503  # the status of Gradio's response
RETRY_AFTER_S = 1

Id = Annotated[str, Field(min_length=1, max_length=MAX_ID_CHARACTERS)]
Index = Annotated[StrictInt, Field(ge=0, le=MAX_INDEX)]


class Join(BaseModel):
    """A call that joins the queue."""

    session_hash: Id
    fn_index: Index
    data: list[Any]
    trigger_id: Index | None = None
    event_id: Id | None = None
    simple_format: bool = False
    batched: bool | None = None
    oauth_token: str | None = None


class Cancel(BaseModel):
    """A request that cancels a call."""

    session_hash: Id
    fn_index: Index
    event_id: Id


Call = TypeVar("Call", Join, Cancel)


class GradioCalls:
    """ASGI middleware; see the module docstring.

    Args:
        app: The next application.
        blocks: The page whose queue is called.
        uploads: The callers' uploaded files.
    """

    def __init__(self, app: ASGIApp, *, blocks: gr.Blocks, uploads: Uploads) -> None:
        self._app = app
        self._blocks = blocks
        self._sessions = GradioSessions(blocks)
        self._uploads = uploads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request, or reject it."""
        if scope["type"] != "http" or not is_gradio(scope["path"]):
            await self._app(scope, receive, send)
            return
        if scope["path"] == "/":  # a query could name another page, or a saved state
            scope["query_string"] = b""
        scope["state"]["uploads"] = self._uploads
        request = Request(scope, receive)
        try:
            if scope["path"] == DATA:
                self._sessions.check(_session_of_query(request), share_key(request))
            elif scope["path"] in {JOIN, CANCEL}:
                data = await request.body()  # within the limits of `AuthMiddleware`
                self._check(_parsed(data), request)
                receive = replay(data, receive)
            await self._forward(request, receive, send)
        except (NSFWReviewError, MemoryError) as error:
            await problem(request, error)(scope, receive, send)

    async def _forward(self, request: Request, receive: Receive, send: Send) -> None:
        """Let Gradio respond, and translate its error responses.

        Raises:
            Overloaded: The queue is full.
        """
        error: Message | None = None
        body = b""

        async def send_success(message: Message) -> None:
            nonlocal error, body
            if message.get("status", 200) >= 400:
                error = message
            if error is None:
                await send(message)
            else:
                body += message.get("body", b"")

        await self._app(request.scope, receive, send_success)
        if error is None:
            return
        if error["status"] == QUEUE_FULL:
            raise Overloaded(
                "Too many calls are waiting already. Try again in a moment.",
                retry_after_s=RETRY_AFTER_S,
            )
        response = http_problem(request, error["status"], _detail(body))
        await response(request.scope, receive, send)

    def _check(self, call: dict[str, Any], request: Request) -> None:
        """Reject a call that is malformed or refers to another caller's file or session.

        Raises:
            RequestError: A field is missing or has a wrong value.
            NotFound: A file or the session is not the caller's.
            TooManyRequests: The caller has used up its share of the queue.
        """
        for path in _files(call):
            self._uploads.check_owner(Path(str(path)), caller_of(request))
        owner = share_key(request)
        if request.scope["path"] == CANCEL:
            cancel = _validated(Cancel, call)
            self._sessions.check(cancel.session_hash, owner, event=cancel.event_id)
            return
        join = _validated(Join, call)
        function = self._blocks.fns.get(join.fn_index)
        if function is None or function.fn is None:  # the latter runs in the browser only
            raise RequestError(f"fn_index is {join.fn_index}: there is no such endpoint.")
        _check_data(join.data, function)
        self._sessions.join(join.session_hash, owner)


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        call = json.loads(data)  # as Gradio reads it
    except (ValueError, RecursionError):
        raise RequestError("The call is not JSON.") from None
    if not isinstance(call, dict):
        raise RequestError("The call is not a JSON object.")
    return call


def _validated(model: type[Call], call: dict[str, Any]) -> Call:
    try:
        return model.model_validate(call)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise RequestError(describe(first, first["loc"])) from None


def _detail(body: bytes) -> str:
    """The message of one of Gradio's error responses."""
    try:
        found = json.loads(body)["detail"]
    except (ValueError, KeyError, TypeError):
        return ""
    if isinstance(found, list) and found:  # FastAPI's validation errors
        return describe(found[0], found[0]["loc"][1:])
    return str(found)


def _check_data(data: list[Any], function: BlockFunction) -> None:
    """Validate the number of values and the shape of file objects."""
    if len(data) < len(function.inputs):
        raise RequestError(f"data has {len(data)} values; {len(function.inputs)} are required.")
    for number, (component, value) in enumerate(zip(function.inputs, data, strict=False)):
        form = getattr(component, "data_model", None)
        if form is None or value is None or number in function.component_prop_inputs:
            continue
        try:
            form.model_validate(value, context={"validate_meta": True})
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            message = describe(first, ("data", number, *first["loc"]))
            raise RequestError(message) from None


def _session_of_query(request: Request) -> str:
    sessions = request.query_params.getlist("session_hash")
    if len(sessions) != 1:
        raise RequestError("session_hash is required exactly once.")
    return sessions[0]


def _files(value: Any) -> Iterator[Any]:
    """The paths of all objects in a call that Gradio would treat as files."""
    pending = [value]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            if "path" in value and "meta" in value:
                yield value["path"]
            pending.extend(value.values())
        elif isinstance(value, list):
            pending.extend(value)
