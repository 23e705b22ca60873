"""`/v1/images`: files judged, put before people where that is needed, and what became of them."""

from dataclasses import asdict
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from starlette.datastructures import UploadFile

from nsfw_app.errors import RequestError
from nsfw_app.records import Upload
from nsfw_app.review import exports
from nsfw_app.rules.permissions import Caller, Permission
from nsfw_app.web.auth.callers import caller_of, needs
from nsfw_app.web.http.errors import responses
from nsfw_app.web.http.forms import FIELD, files_of, limited_form
from nsfw_app.web.http.gate import ClassifyGate, gather
from nsfw_app.web.http.request_limits import MAX_IMAGES
from nsfw_app.web.http.validation import describe

BOOLEAN = TypeAdapter(bool)


class ImageWarning(BaseModel):
    """Something about a file that was tolerated."""

    code: Literal["extension", "metadata", "truncated", "color_profile", "transparency"]
    message: str


class ImageProblem(BaseModel):
    """Why an image could not be judged."""

    kind: str
    message: str


class ImageResult(BaseModel):
    """One file. What could not be judged is `unavailable`, with an error and without a score."""

    name: str
    sha256: str | None
    nsfw_score: float | None = Field(description="In [0, 1].")
    probabilities: dict[str, float] | None
    label: Literal["normal", "nsfw"] | None
    action: Literal["unavailable", "allow", "review", "block"]
    threshold: float
    review_from: float
    review_to: float
    model: str | None
    revision: str | None
    weights_sha256: str | None
    backend: str | None
    width: int | None
    height: int | None
    format: str | None
    frame: int | None
    frames: int | None
    warnings: list[ImageWarning]
    error: ImageProblem | None


class SubmittedImage(ImageResult):
    """One file, and the id to ask for it by, when it waits for a person."""

    id: str | None = None


class SubmittedImages(BaseModel):
    """Every file of the request, in its order."""

    images: list[SubmittedImage]


class WebhookMessage(BaseModel):
    """How a message to the key's webhook fared. Times are ISO 8601 in UTC."""

    created_at: str
    attempts: int
    delivered_at: str | None
    given_up_at: str | None
    last_status: int | None
    last_error: str | None
    type: Literal["image.settled", "image.reopened", "image.withdrawn"]
    label: Literal["normal", "nsfw", "unsure"] | None


class SubmissionStatus(BaseModel):
    """What became of a submitted image. `label` is what people settled on."""

    id: str
    state: Literal["waiting", "settled", "withdrawn"]
    label: Literal["normal", "nsfw", "unsure"] | None
    answers: int
    submitted_at: str
    settled_at: str | None
    image: ImageResult
    webhook: list[WebhookMessage]


def submission_routes(gate: ClassifyGate) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["queue"])
    engine = gate.engine

    @router.post(
        "/images",
        response_model=SubmittedImages,
        responses=responses(400, 401, 403, 408, 413, 422, 429, 503),
        openapi_extra={"requestBody": _documented()},
    )
    async def submit(
        request: Request,
        caller: Annotated[Caller, Depends(caller_of_request)],
        queue: Annotated[
            bool, Query(description="Put what is in the review band into the queue.")
        ] = False,
    ) -> SubmittedImages:
        """Judge one file or many, sent as `multipart/form-data`, each as `file`."""
        async with gate.slot(request), limited_form(request, gate) as form:
            queued = queue or _switch(form.get("queue"))
            caller.require(Permission.QUEUE if queued else Permission.CLASSIFY)
            files = files_of(form)

            images = await gather(*(partial(_judge, gate, file, caller, queued) for file in files))
            return SubmittedImages(images=images)

    @router.get(
        "/images/{submission_id}",
        response_model=SubmissionStatus,
        responses=responses(400, 401, 403, 404, 422, 429),
    )
    def status(
        submission_id: Annotated[str, Path(max_length=64)],
        caller: Annotated[Caller, Depends(needs(Permission.QUEUE))],
    ) -> dict[str, Any]:
        """What became of an image: whether it waits, and what people said."""
        submission, review = engine.submissions.find(submission_id, caller)
        return {
            "id": submission.submission_id,
            "state": submission.state,
            "label": submission.label,
            "answers": submission.answers,
            "submitted_at": submission.submitted_at,
            "settled_at": submission.settled_at,
            "image": exports.review_json(review),
            "webhook": [asdict(message) for message in engine.submissions.messages(submission)],
        }

    return router


def caller_of_request(request: Request) -> Caller:
    """The caller, whose permission the route checks by what is asked for."""
    caller = caller_of(request)
    if not caller.may(Permission.QUEUE):
        caller.require(Permission.CLASSIFY)
    return caller


async def image_result(
    gate: ClassifyGate, data: bytes, *, name: str, caller: Caller, queued: bool
) -> SubmittedImage:
    """One image's object, with an id when it waits for a person.

    Args:
        gate: What judges.
        data: The file's bytes.
        name: The file's name.
        caller: Who sent it.
        queued: Whether it may wait for a person.
    """
    if not queued:
        review = await gate.review(data, Upload(name, "api"))
        return SubmittedImage(**exports.review_json(review))
    submit = gate.engine.submissions.submit
    review, submission_id = await gate.run(submit, data, name=name, caller=caller)
    return SubmittedImage(**exports.review_json(gate.record(review)), id=submission_id)


async def _judge(
    gate: ClassifyGate, file: UploadFile, caller: Caller, queued: bool
) -> SubmittedImage:
    data, name = await file.read(), file.filename or ""
    return await image_result(gate, data, name=name, caller=caller, queued=queued)


def _switch(value: object) -> bool:
    """A field of the form that is true or false, understood as the query parameter is."""
    text = value.strip() if isinstance(value, str) else value
    if not text:
        return False
    try:
        return BOOLEAN.validate_python(text)
    except ValidationError as error:
        raise RequestError(describe(error.errors()[0], ["queue"])) from None


def _documented() -> dict[str, Any]:
    """The body as OpenAPI describes it: read by hand, so that it can be limited."""
    schema = {
        "type": "object",
        "required": [FIELD],
        "properties": {
            FIELD: {
                "type": "array",
                "items": {"type": "string", "contentMediaType": "application/octet-stream"},
                "minItems": 1,
                "maxItems": MAX_IMAGES,
            },
            "queue": {"type": "boolean", "default": False},
        },
    }
    return {"required": True, "content": {"multipart/form-data": {"schema": schema}}}
