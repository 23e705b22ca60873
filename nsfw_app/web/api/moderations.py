"""`POST /v1/moderations`, compatible with OpenAI's clients: flags and scores by category.

- Only images are classified; texts are refused.
- Categories that no model covers have score 0 and, as with OpenAI, an empty
  `category_applied_input_types`.
- Where categories were judged, they count in place of the labels of the first model.
"""

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from nsfw_app.errors import RequestError, Unavailable
from nsfw_app.imaging.fetch import Fetcher
from nsfw_app.models.categories import BY_CARD, CategoryMap
from nsfw_app.records import Action, Category, LabelRole, Prediction, Review, Upload
from nsfw_app.rules.permissions import Caller, Permission
from nsfw_app.web.auth.callers import needs
from nsfw_app.web.http.data_urls import EXAMPLE, decode_data_url, is_data_url, is_url
from nsfw_app.web.http.errors import request_id, responses
from nsfw_app.web.http.gate import CALLER, ClassifyGate, gather, require_prediction
from nsfw_app.web.http.json_bodies import read_json
from nsfw_app.web.http.request_limits import MAX_IMAGES
from nsfw_app.web.http.validation import shown

CATEGORIES = (
    "harassment harassment/threatening hate hate/threatening illicit illicit/violent self-harm "
    "self-harm/instructions self-harm/intent sexual sexual/minors violence violence/graphic"
).split()
SEXUAL, GRAPHIC = "sexual", "violence/graphic"
# OpenAI's categories, and the categories whose labels' probabilities add up to their scores.
JUDGED: Mapping[str, tuple[Category, ...]] = {
    SEXUAL: (Category.SEXUAL_EXPLICIT, Category.SEXUAL_SUGGESTIVE, Category.NUDITY),
    GRAPHIC: (Category.GORE_OR_VIOLENCE,),
    "self-harm": (Category.SELF_HARM,),
}
GRAPHIC_LABELS = frozenset({"gore", "gory", "bloody", "violence", "violent", "nsfl"})
PART_EXAMPLE = f'[{{"type": "image_url", "image_url": {{"url": "{EXAMPLE}"}}}}]'
BODY = {"schema": {"$ref": "#/components/schemas/ModerationRequest"}}


class ImageUrl(BaseModel):
    """A data URL with the image, or the URL to fetch it from."""

    url: str = Field(description=f"{EXAMPLE}, or https://... if NSFW_FETCH_URLS is set.")


class ImagePart(BaseModel):
    """An image."""

    type: Literal["image_url"]
    image_url: ImageUrl


class TextPart(BaseModel):
    """A text. Refused: only images are classified."""

    type: Literal["text"]
    text: str


def _images_only(value: Any) -> Any:
    """Check that all parts of the input are images; its type is validated afterwards.

    Raises:
        RequestError: There are too many parts, or one is not an image.
    """
    parts = [value] if isinstance(value, str) else value
    if not isinstance(parts, list):
        return value
    if len(parts) > MAX_IMAGES:
        raise RequestError(f"input: {len(parts)} images; the limit is {MAX_IMAGES}.")
    for number, part in enumerate(parts):
        kind = part.get("type", "image_url") if isinstance(part, dict) else "text"
        if kind == "text":
            raise RequestError(
                f"input: Only images are classified, not texts. Send {PART_EXAMPLE}."
            )
        if kind != "image_url":
            raise RequestError(
                f"input[{number}].type is {shown(kind)}. Only images are classified. Send "
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
    """Images to classify. `model` is ignored; the response has the id of the model."""

    model_config = ConfigDict(extra="ignore")

    input: Input
    model: str | None = None


class Moderation(BaseModel):
    """Result of one image.

    `flagged`: its nsfw score reaches the threshold of the policy, its action is block, or one of
    the categories is true.
    """

    flagged: bool
    categories: dict[str, bool]
    category_scores: dict[str, float]
    category_applied_input_types: dict[str, list[str]]


class ModerationResponse(BaseModel):
    """One result per image, in the order of the input."""

    id: str
    model: str
    results: list[Moderation]


def moderation_routes(gate: ClassifyGate, fetcher: Fetcher | None) -> APIRouter:
    """`POST /moderations`.

    Args:
        gate: Classifies images.
        fetcher: Fetches URLs; None if that is off.
    """
    router = APIRouter(tags=["classify"])

    async def fetch(url: str, name: str) -> bytes:
        if fetcher is None:
            what = "a URL, and fetching URLs is off" if is_url(url) else "not a data URL"
            raise RequestError(f"{name} is {what}. Send {EXAMPLE}")
        return await fetcher.fetch(url, name=name, caller=CALLER.get())

    @router.post(
        "/moderations",
        response_model=ModerationResponse,
        responses=responses(400, 401, 403, 408, 413, 415, 422, 429, 503),
        openapi_extra={"requestBody": {"required": True, "content": {"application/json": BODY}}},
    )
    async def moderate(
        request: Request, _: Annotated[Caller, Depends(needs(Permission.CLASSIFY))]
    ) -> ModerationResponse:
        """Classify images given as data URLs, in the format of OpenAI's moderation endpoint."""
        async with gate.slot(request):
            body = await read_json(request, ModerationRequest, limits=gate.limits)
            images = await gate.run(_decode_images, body)

            async def review(number: int, image: bytes | str) -> Review:
                name = f"Image {number}"
                data = image if isinstance(image, bytes) else await fetch(image, name)
                return await gate.review(data, Upload(name, "api"))

            reviews = await gather(
                *(partial(review, number, image) for number, image in enumerate(images, start=1))
            )
            detail = gate.engine.detail
            categories = detail.categories if detail is not None else BY_CARD
            results = [moderation(review, gate.engine.roles, categories) for review in reviews]
            return ModerationResponse(
                id=f"modr-{request_id(request)}",
                model=require_prediction(reviews[0]).identity.model,
                results=results,
            )

    return router


def moderation(
    review: Review, roles: Mapping[str, LabelRole], detail_categories: CategoryMap
) -> Moderation:
    """Map predictions to OpenAI's categories.

    A category is true where one that was judged reaches the threshold of its rule in the policy,
    or the policy's own threshold if it has no rule. Without any rule, its score counts too.

    Args:
        review: The result of an image.
        roles: Roles of the first model's labels.
        detail_categories: Which labels of the detail model belong to which categories.

    Raises:
        Unavailable: The image has no score, or a model that could block it failed.
    """
    prediction, policy = require_prediction(review), review.policy
    if review.detail is not None and review.detail.problem and policy.overrules_allow:
        problem = review.detail.problem
        raise Unavailable(problem.kind, f"{review.name}: {problem.message}")
    scores = dict.fromkeys(CATEGORIES, 0.0)
    applied: dict[str, list[str]] = {category: [] for category in CATEGORIES}
    for label, probability in prediction.probabilities.items():
        if roles.get(label) is LabelRole.UNSAFE:
            category = GRAPHIC if label.strip().lower() in GRAPHIC_LABELS else SEXUAL
            scores[category] = min(1.0, scores[category] + probability)
            applied[category] = ["image"]
    labels = _judging_labels(review, prediction, detail_categories)
    thresholds = {rule.category: rule.threshold for rule in policy.category_rules}
    reached = {name: score >= policy.threshold for name, score in scores.items()}
    for name, categories in JUDGED.items():
        judged = [category for category in categories if category in review.categories]
        if not judged:
            continue
        found = (p for p, of_label in labels if not of_label.isdisjoint(categories))
        scores[name], applied[name] = min(1.0, sum(found)), ["image"]
        reached[name] = any(
            review.categories[category] >= thresholds.get(category, policy.threshold)
            for category in judged
        ) or (thresholds.keys().isdisjoint(judged) and scores[name] >= policy.threshold)
    return Moderation(
        flagged=prediction.nsfw_score >= policy.threshold
        or review.verdict.action is Action.BLOCK
        or any(reached.values()),
        categories=reached,
        category_scores=scores,
        category_applied_input_types=applied,
    )


def _judging_labels(
    review: Review, prediction: Prediction, detail_categories: CategoryMap
) -> list[tuple[float, frozenset[Category]]]:
    """The probability of each label with categories, and those for which its model counts."""
    own, second = prediction.probabilities, review.detail.probabilities if review.detail else {}
    of_own = BY_CARD.of(prediction.identity.model, own)
    of_second = detail_categories.of(review.detail.model, second) if review.detail else {}
    by_second = frozenset(category for found in of_second.values() for category in found)
    return [
        *((own[label], frozenset(found) - by_second) for label, found in of_own.items()),
        *((second[label], frozenset(found)) for label, found in of_second.items()),
    ]


def _decode_images(body: ModerationRequest) -> list[bytes | str]:
    """Decode data URLs to bytes; other URLs are returned unchanged.

    Raises:
        RequestError: The input is empty, or a data URL is invalid.
    """
    if not body.input:
        raise RequestError("input: It has no image.")
    urls = [part.image_url.url for part in body.input]
    return [_decode_image(url, f"Image {number}") for number, url in enumerate(urls, start=1)]


def _decode_image(url: str, name: str) -> bytes | str:
    return decode_data_url(url, name=name) if is_data_url(url) else url
