"""`POST /v1/image-classification`, as Hugging Face's inference clients speak it."""

import base64
import binascii
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, Field, ValidationError

from nsfw_app.access import Caller, Permission
from nsfw_app.errors import RequestError
from nsfw_app.records import Upload
from nsfw_app.web.bodies import body
from nsfw_app.web.callers import needs
from nsfw_app.web.judging import Judging, judged
from nsfw_app.web.problems import responses

NAME = "The image"
JSON = "application/json"


class Parameters(BaseModel):
    """What the task knows. Probabilities are always those of a softmax."""

    top_k: int | None = Field(None, ge=1)
    function_to_apply: Literal["softmax"] | None = None


class ClassificationRequest(BaseModel):
    """An image in base64, for a request that needs parameters."""

    inputs: str
    parameters: Parameters = Field(default_factory=lambda: Parameters(top_k=None))


class LabelScore(BaseModel):
    """A label of the model and its probability."""

    label: str
    score: float


def classification_routes(judging: Judging) -> APIRouter:
    """The route."""
    router = APIRouter(tags=["judge"])
    binary = {"schema": {"type": "string", "format": "binary"}}
    asked = {"schema": {"$ref": "#/components/schemas/ClassificationRequest"}}

    @router.post(
        "/image-classification",
        response_model=list[LabelScore],
        responses=responses(400, 401, 403, 408, 413, 415, 422, 429, 503),
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"image/*": binary, "application/octet-stream": binary, JSON: asked},
            }
        },
    )
    async def classify(
        request: Request, _: Annotated[Caller, Depends(needs(Permission.CLASSIFY))]
    ) -> list[LabelScore]:
        """Judge the image that is the body; every label with its probability, highest first."""
        async with judging.place():
            if request.headers.get("content-type", "").startswith(JSON):
                data = await body(request, max_bytes=2 * judging.engine.limits.max_bytes)
                image, top_k = _decoded(data)
            else:
                image, top_k = await judging.file(request, name=NAME), None
            prediction = judged(await judging.review(image, Upload(NAME, "api")))
            ranked = sorted(prediction.probabilities.items(), key=lambda item: -item[1])
            return [LabelScore(label=label, score=score) for label, score in ranked[:top_k]]

    return router


def _decoded(data: bytes) -> tuple[bytes, int | None]:
    try:
        asked = ClassificationRequest.model_validate_json(data)
        return base64.b64decode(asked.inputs, validate=True), asked.parameters.top_k
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "body"
        raise RequestError(f"{where}: {first['msg']}.") from None
    except (binascii.Error, ValueError):
        raise RequestError("inputs: not base64.") from None
