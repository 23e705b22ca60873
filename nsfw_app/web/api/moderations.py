"""`POST /v1/moderations`, as OpenAI's clients speak it: images in, flags and scores by category.

Only pictures are judged. The model says nothing about most of OpenAI's categories; those have a
score of 0 and, as OpenAI writes it too, no entry in `category_applied_input_types`.
"""

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from nsfw_app.errors import RequestError
from nsfw_app.imaging.fetch import Fetcher
from nsfw_app.records import LabelRole, Prediction, Review, Upload
from nsfw_app.rules.permissions import Caller, Permission
from nsfw_app.web.auth.callers import needs
from nsfw_app.web.http.data_urls import EXAMPLE, decode_data_url, is_data_url, is_url
from nsfw_app.web.http.errors import request_id, responses
from nsfw_app.web.http.gate import ClassifyGate, gather, require_prediction
from nsfw_app.web.http.json_bodies import read_json
from nsfw_app.web.http.request_limits import MAX_IMAGES
from nsfw_app.web.http.validation import shown

CATEGORIES = (
    "harassment harassment/threatening hate hate/threatening illicit illicit/violent self-harm "
    "self-harm/instructions self-harm/intent sexual sexual/minors violence violence/graphic"
).split()
SEXUAL, GRAPHIC = "sexual", "violence/graphic"
GRAPHIC_WORDS = frozenset({"gore", "gory", "bloody", "violence", "violent", "nsfl"})
PART_EXAMPLE = f'[{{"type": "image_url", "image_url": {{"url": "{EXAMPLE}"}}}}]'
BODY = {"schema": {"$ref": "#/components/schemas/ModerationRequest"}}


class ImageUrl(BaseModel):
    """Where an image is: in the URL itself, or behind it."""

    url: str = Field(description=f"{EXAMPLE} or, where that is allowed, https://...")


class ImagePart(BaseModel):
    """An image of the input."""

    type: Literal["image_url"]
    image_url: ImageUrl


class TextPart(BaseModel):
    """A text of the input, which is refused."""

    type: Literal["text"]
    text: str


def _images_only(value: Any) -> Any:
    """Pass on an input that is a list of images; what is no list at all is refused by its type.

    Raises:
        RequestError: It has too many parts, or one that is no image.
    """
    parts = [value] if isinstance(value, str) else value
    if not isinstance(parts, list):
        return value
    if len(parts) > MAX_IMAGES:
        raise RequestError(f"input: {len(parts)} images; the limit is {MAX_IMAGES}.")
    for number, part in enumerate(parts):
        kind = part.get("type", "image_url") if isinstance(part, dict) else "text"
        if kind == "text":
            raise RequestError(f"input: Texts are not judged here, only images: {PART_EXAMPLE}.")
        if kind != "image_url":
            raise RequestError(
                f"input[{number}].type is {shown(kind)}. Only images are judged here: "
                f"{PART_EXAMPLE}."
            )
    return value


Input = Annotated[
    list[ImagePart],
    BeforeValidator(
        _images_only, json_schema_input_type=str | list[str] | list[ImagePart | TextPart]
    ),
]


class ModerationRequest(BaseModel):
    """What OpenAI's clients send. `model` is ignored: the response says which model judged."""

    model_config = ConfigDict(extra="ignore")

    input: Input
    model: str | None = None


class Moderation(BaseModel):
    """One image. `flagged` is whether its nsfw score reaches the threshold of the policy."""

    flagged: bool
    categories: dict[str, bool]
    category_scores: dict[str, float]
    category_applied_input_types: dict[str, list[str]]


class ModerationResponse(BaseModel):
    """One result for each image, in the order of the input."""

    id: str
    model: str
    results: list[Moderation]


def moderation_routes(gate: ClassifyGate, fetcher: Fetcher | None) -> APIRouter:
    """The route.

    Args:
        gate: What judges.
        fetcher: What fetches URLs; None where that is off.
    """
    router = APIRouter(tags=["judge"])

    async def fetch(url: str, name: str) -> bytes:
        if fetcher is None:
            what = "a URL, and fetching URLs is off" if is_url(url) else "no data URL"
            raise RequestError(f"{name} is {what}. Send {EXAMPLE}")
        return await fetcher.fetch(url, name=name)

    @router.post(
        "/moderations",
        response_model=ModerationResponse,
        responses=responses(400, 401, 403, 408, 413, 415, 422, 429, 503),
        openapi_extra={"requestBody": {"required": True, "content": {"application/json": BODY}}},
    )
    async def moderate(
        request: Request, _: Annotated[Caller, Depends(needs(Permission.CLASSIFY))]
    ) -> ModerationResponse:
        """Judge images given as data URLs; see OpenAI's moderations."""
        async with gate.slot(request):
            asked = await read_json(request, ModerationRequest, limits=gate.limits)
            images = await gate.run(_images, asked)

            async def review(number: int, image: bytes | str) -> Review:
                name = f"Image {number}"
                data = image if isinstance(image, bytes) else await fetch(image, name)
                return await gate.review(data, Upload(name, "api"))

            reviews = await gather(
                *(partial(review, number, image) for number, image in enumerate(images, start=1))
            )
            predictions = [require_prediction(review) for review in reviews]
            return ModerationResponse(
                id=f"modr-{request_id(request)}",
                model=predictions[0].identity.model,
                results=[
                    moderation(prediction, gate.engine.roles, review.policy.threshold)
                    for prediction, review in zip(predictions, reviews, strict=True)
                ],
            )

    return router


def moderation(
    prediction: Prediction, roles: Mapping[str, LabelRole], threshold: float
) -> Moderation:
    """A prediction in OpenAI's categories."""
    scores = dict.fromkeys(CATEGORIES, 0.0)
    applied: dict[str, list[str]] = {category: [] for category in CATEGORIES}
    for label, probability in prediction.probabilities.items():
        if roles.get(label) is LabelRole.UNSAFE:
            category = GRAPHIC if label.strip().lower() in GRAPHIC_WORDS else SEXUAL
            scores[category] = min(1.0, scores[category] + probability)
            applied[category] = ["image"]
    return Moderation(
        flagged=prediction.nsfw_score >= threshold,
        categories={category: score >= threshold for category, score in scores.items()},
        category_scores=scores,
        category_applied_input_types=applied,
    )


def _images(asked: ModerationRequest) -> list[bytes | str]:
    """The images in the input: what data URLs carry, and any other URL as it is.

    Raises:
        RequestError: It holds nothing, or a damaged data URL.
    """
    if not asked.input:
        raise RequestError("input: There is no image to judge.")
    urls = [part.image_url.url for part in asked.input]
    return [_image(url, f"Image {number}") for number, url in enumerate(urls, start=1)]


def _image(url: str, name: str) -> bytes | str:
    return decode_data_url(url, name=name) if is_data_url(url) else url
