"""`/v1/images`: classify files, submit those to review to the queue, and report their state."""

from dataclasses import asdict, dataclass
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.datastructures import UploadFile

from nsfw_app.errors import RequestError
from nsfw_app.records import Category, Retain, Upload
from nsfw_app.review.image_json import ImageResult, review_json
from nsfw_app.rules.permissions import Caller, Permission, retain_submission
from nsfw_app.web.auth.callers import needs
from nsfw_app.web.http.errors import responses
from nsfw_app.web.http.forms import FIELD, files_of, limited_form
from nsfw_app.web.http.gate import ClassifyGate, gather
from nsfw_app.web.http.request_limits import MAX_IMAGES
from nsfw_app.web.http.request_state import caller_of
from nsfw_app.web.http.validation import describe

BOOLEAN = TypeAdapter(bool)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmittedImage(ImageResult):
    """Result of one file, with the id of its submission if it was queued for review."""

    id: str | None = None


class SubmittedImages(BaseModel):
    """Results of all files, in the order of the request."""

    images: list[SubmittedImage]


class WebhookMessage(BaseModel):
    """Delivery state of a message to the key's webhook. Times are ISO 8601 in UTC."""

    created_at: str
    attempts: int
    delivered_at: str | None
    given_up_at: str | None
    last_status: int | None
    last_error: str | None
    type: Literal["image.settled", "image.reopened", "image.withdrawn"]
    label: Literal["normal", "nsfw", "unsure"] | None
    categories: list[Category] | None


class SubmissionStatus(BaseModel):
    """State of a submitted image.

    `label`: the settled label; `answers`: number of decisions; `categories`: those that more than
    half of the reviewers named, null unless it is settled and reviewers were asked.
    """

    id: str
    state: Literal["waiting", "settled", "withdrawn"]
    label: Literal["normal", "nsfw", "unsure"] | None
    answers: int
    submitted_at: str
    settled_at: str | None
    image: ImageResult
    webhook: list[WebhookMessage]
    categories: list[Category] | None


def image_routes(gate: ClassifyGate) -> APIRouter:
    """`POST /images` and `GET /images/{submission_id}`."""
    router = APIRouter(tags=["queue"])
    engine = gate.engine

    @router.post(
        "/images",
        response_model=SubmittedImages,
        responses=responses(400, 401, 403, 408, 413, 422, 429, 503),
        openapi_extra={"requestBody": _request_body()},
    )
    async def submit(
        request: Request,
        caller: Annotated[Caller, Depends(caller_of_request)],
        queue: Annotated[
            bool, Query(description="Queue images in the review band for review.")
        ] = False,
    ) -> SubmittedImages:
        """Classify files sent as `multipart/form-data`, each in a field `file`."""
        async with gate.slot(request), limited_form(request, gate) as form:
            queued = queue or _parse_bool(form.get("queue"))
            caller.require(Permission.QUEUE if queued else Permission.CLASSIFY)
            files = files_of(form)

            retain = retain_submission(caller) if queued else Retain.SCORE
            images = await gather(
                *(partial(_classify, gate, file, caller, retain) for file in files)
            )
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
        """State of a submitted image: waiting, settled with a label, or withdrawn."""
        submission, review = engine.submissions.find(submission_id, caller)
        return {
            "id": submission.submission_id,
            "state": submission.state,
            "label": submission.label,
            "answers": submission.answers,
            "submitted_at": submission.submitted_at,
            "settled_at": submission.settled_at,
            "image": review_json(review),
            "webhook": [asdict(message) for message in engine.submissions.messages(submission)],
            "categories": submission.categories,
        }

    return router


def caller_of_request(request: Request) -> Caller:
    """The caller, with the scope `queue` or `classify`; the route checks which one it needs."""
    caller = caller_of(request)
    if not caller.may(Permission.QUEUE):
        caller.require(Permission.CLASSIFY)
    return caller


async def image_result(
    gate: ClassifyGate, data: bytes, *, name: str, caller: Caller, retain: Retain
) -> SubmittedImage:
    """Classify one file; the result has an id if the image was queued.

    Args:
        gate: Classifies images.
        data: The file's bytes.
        name: The file's name.
        caller: Owner of the submission.
        retain: What the store keeps.
    """
    upload = Upload(name, "api", caller.owner, retain=retain, key_name=caller.key_name)
    review = await gate.review(data, upload)
    return SubmittedImage.of(review, id=review.submission_id)


async def _classify(
    gate: ClassifyGate, file: UploadFile, caller: Caller, retain: Retain
) -> SubmittedImage:
    data, name = await file.read(), file.filename or ""
    return await image_result(gate, data, name=name, caller=caller, retain=retain)


def _parse_bool(value: object) -> bool:
    """Parse a boolean form field by the rules of a query parameter; missing is false."""
    text = value.strip() if isinstance(value, str) else value
    if not text:
        return False
    try:
        return BOOLEAN.validate_python(text)
    except ValidationError as error:
        raise RequestError(describe(error.errors()[0], ["queue"])) from None


def _request_body() -> dict[str, Any]:
    """OpenAPI description of the body, which the route reads itself to limit it."""
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
