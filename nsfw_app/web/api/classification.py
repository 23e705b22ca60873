"""`POST /v1/image-classification`, compatible with Hugging Face's inference clients."""

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
    """Parameters of Hugging Face's image-classification task."""

    top_k: int | None = Field(None, ge=1)
    function_to_apply: Literal["softmax"] | None = Field(
        None, description="Probabilities are always computed with softmax."
    )


class ClassificationRequest(BaseModel):
    """JSON body: an image in base64, with parameters."""

    inputs: str = Field(description="Base64, alone or in a data URL.")
    parameters: Parameters | None = None


class LabelScore(BaseModel):
    """A label of the model and its probability in [0, 1]."""

    label: str
    score: float


def classification_routes(gate: ClassifyGate) -> APIRouter:
    """`POST /image-classification`."""
    router = APIRouter(tags=["classify"])
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
        """Classify the image in the body. Returns labels in descending order of probability."""
        async with gate.slot(request):
            if media_type(request) == JSON:
                body = await read_json(request, ClassificationRequest, limits=gate.limits)
                image = await gate.run(_decode, body.inputs)
                top_k = body.parameters.top_k if body.parameters else None
            else:
                image, top_k = await _read_raw(request, gate), None
            prediction = require_prediction(await gate.review(image, Upload(NAME, "api")))
            ranked = sorted(prediction.probabilities.items(), key=lambda item: -item[1])
            return [LabelScore(label=label, score=score) for label, score in ranked[:top_k]]

    return router


async def _read_raw(request: Request, gate: ClassifyGate) -> bytes:
    """Read an image that is the whole body.

    Raises:
        RequestError: The body is a form or JSON.
    """
    if media_type(request).startswith("multipart/"):
        raise RequestError(
            "This route takes the image's bytes as the body, not multipart/form-data. Send them "
            "with curl --data-binary @image.jpg, or send the form to /v1/images."
        )
    data = await gate.file(request, name=NAME)
    if data[:64].lstrip().startswith(b"{"):  # no image format begins so
        raise RequestError(f"The body looks like JSON. Send it with the content type {JSON}.")
    return data


def _decode(text: str) -> bytes:
    if is_url(text):
        raise RequestError("inputs is a URL, which this route does not fetch. Send base64.")
    decode = decode_data_url if is_data_url(text) else decode_base64
    return decode(text, name="inputs")
