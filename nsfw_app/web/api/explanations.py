"""`POST /v1/explain`: why an image has its score, as JSON or as a PNG.

The request waits for its turn: explanations are computed one at a time, and all images that are
only classified go first.
"""

import time
from typing import Annotated, Literal

import anyio
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from nsfw_app.errors import Overloaded, RequestError, Unavailable
from nsfw_app.explain_errors import ExplanationCancelled
from nsfw_app.models.explain.explanation import Explanation, Faithfulness
from nsfw_app.records import Upload
from nsfw_app.review.explanation_requests import RETRY_AFTER_S, ExplanationState
from nsfw_app.review.explanations import heat_map_png
from nsfw_app.rules.permissions import Caller, Permission
from nsfw_app.web.auth.callers import needs
from nsfw_app.web.http.errors import responses
from nsfw_app.web.http.forms import FIELD, FORM, files_of, limited_form
from nsfw_app.web.http.gate import ClassifyGate, require_prediction
from nsfw_app.web.http.json_bodies import media_type

NAME = "The image"
PNG = "image/png"
POLL_S = 0.05
STALLED_S = 60.0  # without progress, after which a request ends: other images keep going first


class ExplanationBody(BaseModel):
    """A map of cells over the upright image; see docs/rationale.md for what it means."""

    method: Literal["attribution", "occlusion", "rise"]
    rows: int
    columns: int
    values: list[list[float | None]]
    informative: bool
    sentence: str
    score: float
    score_covered: float
    marked: list[list[bool]]
    faithfulness: Faithfulness
    model: str
    revision: str
    backend: str
    frame: int
    seconds: float
    scored: int


def explanation_routes(gate: ClassifyGate) -> APIRouter:
    """`POST /explain`."""
    router = APIRouter(tags=["classify"])
    explanations = gate.engine.explanations
    binary = {"schema": {"type": "string", "format": "binary"}}
    form = {
        "type": "object",
        "required": [FIELD],
        "properties": {FIELD: {"type": "string", "contentMediaType": "application/octet-stream"}},
    }

    @router.post(
        "/explain",
        response_model=ExplanationBody,
        responses={
            **responses(400, 401, 403, 408, 409, 413, 415, 422, 429, 503),
            200: {"content": {PNG: {"schema": {"type": "string", "format": "binary"}}}},
        },
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {
                    "image/*": binary,
                    "application/octet-stream": binary,
                    FORM: {"schema": form},
                },
            }
        },
    )
    async def explain(
        request: Request,
        caller: Annotated[Caller, Depends(needs(Permission.CLASSIFY))],
        reveal: Annotated[
            bool, Query(description="Draw the PNG over the image instead of its blurred version.")
        ] = False,
    ) -> Response:
        """Explain the score of an image, the body or the only file of a form.

        The response is a PNG where `Accept` is image/png, JSON otherwise.
        """
        as_png = request.headers.get("accept", "").partition(",")[0].strip() == PNG
        async with gate.slot(request):
            name, data = await _read_file(request, gate)
            prediction = require_prediction(await gate.review(data, Upload(name, "api")))
            started = await gate.run(
                explanations.start_with_file, data, name, prediction.identity, caller
            )
            explanation = started.explanation or await _result(request, gate, started.id, caller)
            if not as_png:
                return JSONResponse(explanation.to_json())
            image = await gate.run(explanations.frame_of, data, prediction, name=name)
            return Response(
                await gate.run(heat_map_png, explanation, image, reveal=reveal), media_type=PNG
            )

    return router


async def _read_file(request: Request, gate: ClassifyGate) -> tuple[str, bytes]:
    """Read name and bytes of the image.

    Raises:
        RequestError: The form has no file, or several.
        ImageError: The body is empty or too large.
    """
    if media_type(request) != FORM:
        return NAME, await gate.file(request, name=NAME)
    async with limited_form(request, gate) as form:
        files = files_of(form)
        if len(files) > 1:
            raise RequestError(f"One image is explained per request; the form has {len(files)}.")
        return files[0].filename or NAME, await files[0].read()


async def _result(
    request: Request, gate: ClassifyGate, request_id: str, caller: Caller
) -> Explanation:
    """Wait for an explanation; it is cancelled when the client disconnects.

    Raises:
        Overloaded: For `STALLED_S` nothing of it was computed.
        Unavailable: It failed.
        ExplanationCancelled: It was cancelled.
    """
    explanations = gate.engine.explanations
    progress, advanced_at = 0.0, time.monotonic()
    while (status := explanations.status(request_id, caller)).status is ExplanationState.RUNNING:
        if await request.is_disconnected():
            explanations.cancel(request_id, caller)
            raise ExplanationCancelled
        if status.progress > progress:
            progress, advanced_at = status.progress, time.monotonic()
        elif time.monotonic() - advanced_at > STALLED_S:
            explanations.cancel(request_id, caller)
            raise Overloaded(
                f"For {STALLED_S:.0f} seconds nothing of this explanation was computed: "
                "others go first. Try again when fewer images are classified.",
                retry_after_s=RETRY_AFTER_S,
            )
        await anyio.sleep(POLL_S)
    if status.error is not None:
        raise Unavailable(status.error.kind, status.error.message)
    if status.explanation is None:
        raise ExplanationCancelled
    return status.explanation
