"""`POST /v1/image-classification`, as Hugging Face's inference clients speak it."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, Field

from nsfw_app.errors import RequestError
from nsfw_app.records import Upload
from nsfw_app.rules.permissions import Caller, Permission
from nsfw_app.web.auth.callers import needs
from nsfw_app.web.http.data_urls import decode_base64, decode_data_url, is_data_url, is_url
from nsfw_app.web.http.errors import responses
from nsfw_app.web.http.gate import ClassifyGate, require_prediction
from nsfw_app.web.http.json_bodies import JSON, media_type, read_json

NAME = "The image"


class Parameters(BaseModel):
    """What the task knows. Probabilities are always those of a softmax."""

    top_k: int | None = Field(None, ge=1)
    function_to_apply: Literal["softmax"] | None = None


class ClassificationRequest(BaseModel):
    """An image in base64, for a request that needs parameters."""

    inputs: str = Field(description="Base64, alone or in a data URL.")
    parameters: Parameters | None = None


class LabelScore(BaseModel):
    """A label of the model and its probability."""

    label: str
    score: float


def classification_routes(gate: ClassifyGate) -> APIRouter:
    """The route."""
    router = APIRouter(tags=["judge"])
    binary = {"schema": {"type": "string", "format": "binary"}}
    encoded = {"schema": {"$ref": "#/components/schemas/ClassificationRequest"}}

    @router.post(
        "/image-classification",
        response_model=list[LabelScore],
        responses=responses(400, 401, 403, 408, 413, 415, 422, 429, 503),
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"image/*": binary, "application/octet-stream": binary, JSON: encoded},
            }
        },
    )
    async def classify(
        request: Request, _: Annotated[Caller, Depends(needs(Permission.CLASSIFY))]
    ) -> list[LabelScore]:
        """Judge the image that is the body; every label with its probability, highest first."""
        async with gate.slot(request):
            if media_type(request) == JSON:
                asked = await read_json(request, ClassificationRequest, limits=gate.limits)
                image = await gate.run(_decoded, asked.inputs)
                top_k = asked.parameters.top_k if asked.parameters else None
            else:
                image, top_k = await _raw(request, gate), None
            prediction = require_prediction(await gate.review(image, Upload(NAME, "api")))
            ranked = sorted(prediction.probabilities.items(), key=lambda item: -item[1])
            return [LabelScore(label=label, score=score) for label, score in ranked[:top_k]]

    return router


async def _raw(request: Request, gate: ClassifyGate) -> bytes:
    """The image that is the whole body.

    Raises:
        RequestError: The body is a form or JSON.
    """
    if media_type(request).startswith("multipart/"):
        raise RequestError(
            "This route takes the image's bytes as the body, not multipart/form-data: send them "
            "as curl --data-binary @photo.jpg does, or send the form to /v1/images."
        )
    data = await gate.file(request, name=NAME)
    if data[:64].lstrip().startswith(b"{"):  # as no image does
        raise RequestError(f"The body looks like JSON. Send it with the content type {JSON}.")
    return data


def _decoded(text: str) -> bytes:
    if is_url(text):
        raise RequestError("inputs is a URL, which this route does not fetch. Send base64.")
    decode = decode_data_url if is_data_url(text) else decode_base64
    return decode(text, name="inputs")
