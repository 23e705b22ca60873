"""`POST /v1/gate`: classify one image; the status encodes the action, for upload servers.

    204 allow    202 review    451 block    422 unavailable

Any other status is not a verdict: let an upload pass with 204, or 202, and nothing else.
"""

from collections.abc import Mapping
from dataclasses import asdict
from types import MappingProxyType
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse

from nsfw_app.errors import (
    ImageError,
    ImageErrorKind,
    NSFWReviewError,
    RequestError,
    RequestOutOfMemory,
    Unavailable,
)
from nsfw_app.records import Action
from nsfw_app.rules.permissions import Caller, retain_submission
from nsfw_app.web.api.images import SubmittedImage, caller_of_request, image_result
from nsfw_app.web.http.errors import ProblemBody, problem, responses, status_of
from nsfw_app.web.http.forms import FIELD, FORM, files_of, limited_form
from nsfw_app.web.http.gate import ClassifyGate
from nsfw_app.web.http.json_bodies import media_type
from nsfw_app.web.parameters import MAX_NAME_CHARACTERS

NAME = "The image"
UNCLASSIFIABLE = 422
STATUSES: Mapping[str, int] = MappingProxyType(
    {Action.ALLOW: 204, Action.REVIEW: 202, Action.BLOCK: 451}
)
HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "NSFW-Action": "allow, review, block or unavailable.",
        "NSFW-Label": "normal or nsfw.",
        "NSFW-Score": "The nsfw score, in [0, 1].",
        "NSFW-SHA256": "SHA-256 of the bytes.",
        "NSFW-Warnings": "Codes of warnings, separated by commas.",
        "NSFW-Submission": "The id for GET /v1/images/ID, if the image was queued for review.",
    }
)
DESCRIPTIONS: Mapping[int, str] = MappingProxyType(
    {
        204: "Allow.",
        202: "Review. With the scope `queue`, the image is queued and has an id.",
        451: "Block.",
        422: "Unavailable: the image cannot be classified. Or a parameter is invalid.",
    }
)


def gate_routes(gate: ClassifyGate) -> APIRouter:
    """`POST /gate`."""
    router = APIRouter(tags=["classify"])

    @router.post(
        "/gate",
        status_code=STATUSES[Action.ALLOW],
        response_model=None,
        responses=responses(400, 401, 403, 408, 413, 429, 503) | _verdict_responses(),
        openapi_extra={"requestBody": _request_body()},
    )
    async def upload_gate(
        request: Request,
        caller: Annotated[Caller, Depends(caller_of_request)],
        name: Annotated[
            str, Query(max_length=MAX_NAME_CHARACTERS, description="File name, optional.")
        ] = "",
    ) -> Response:
        """Classify an image, the body or the only file of a form; the status encodes the action."""
        try:
            async with gate.slot(request):
                name, data = await _read_file(request, gate, name)
                retain = retain_submission(caller)
                image = await image_result(gate, data, name=name, caller=caller, retain=retain)
        except MemoryError:
            return _unavailable(request, RequestOutOfMemory())
        except NSFWReviewError as error:
            return _unavailable(request, error)
        if image.error is None:
            return _verdict(image)
        failure = Unavailable(image.error.kind, image.error.message)
        return _unavailable(request, failure, sha256=image.sha256)

    return router


async def _read_file(request: Request, gate: ClassifyGate, name: str) -> tuple[str, bytes]:
    """Read name and bytes of the image.

    Raises:
        RequestError: The form has no file, or several.
        ImageError: The body is empty or too large.
    """
    if media_type(request) != FORM:
        return name or NAME, await gate.file(request, name=name or NAME)
    async with limited_form(request, gate) as form:
        files = files_of(form)
        if len(files) > 1:
            raise RequestError(f"The gate takes one file per request; the form has {len(files)}.")
        return name or files[0].filename or NAME, await files[0].read()


def _verdict(image: SubmittedImage) -> Response:
    values = {
        "NSFW-Action": image.action,
        "NSFW-Label": image.label,
        "NSFW-Score": image.nsfw_score,
        "NSFW-SHA256": image.sha256,
        "NSFW-Warnings": ",".join(warning.code for warning in image.warnings) or None,
        "NSFW-Submission": image.id,
    }
    headers = {key: str(value) for key, value in values.items() if value is not None}
    status = STATUSES[image.action]
    if status == STATUSES[Action.ALLOW]:
        return Response(status_code=status, headers=headers)
    return JSONResponse(asdict(image), status, headers)


def _unavailable(
    request: Request, error: NSFWReviewError, *, sha256: str | None = None
) -> Response:
    """The response without a verdict: never a status that lets the upload pass."""
    response = problem(request, error)
    keeps_status = error.kind == ImageErrorKind.TOO_LARGE or status_of(error) == 503
    if isinstance(error, (ImageError, Unavailable)) and not keeps_status:
        response.status_code = UNCLASSIFIABLE
    response.headers["NSFW-Action"] = Action.UNAVAILABLE
    if sha256:
        response.headers["NSFW-SHA256"] = sha256
    return response


def _verdict_responses() -> dict[int | str, dict[str, Any]]:
    """OpenAPI descriptions of the statuses that are verdicts."""
    headers = {
        name: {"description": text, "schema": {"type": "string"}} for name, text in HEADERS.items()
    }
    bodies = {202: SubmittedImage, 451: SubmittedImage, 422: ProblemBody}
    described: dict[int | str, dict[str, Any]] = {}
    for status, description in DESCRIPTIONS.items():
        described[status] = {"description": description, "headers": headers}
        if status in bodies:
            described[status]["model"] = bodies[status]
    return described


def _request_body() -> dict[str, Any]:
    """OpenAPI description of the body, which the route reads itself to limit it."""
    binary = {"schema": {"type": "string", "format": "binary"}}
    form = {
        "type": "object",
        "required": [FIELD],
        "properties": {FIELD: {"type": "string", "contentMediaType": "application/octet-stream"}},
    }
    return {
        "required": True,
        "content": {
            "image/*": binary,
            "application/octet-stream": binary,
            FORM: {"schema": form},
        },
    }
