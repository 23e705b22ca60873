"""Bodies in JSON of routes that read them by hand, so that they can be limited."""

from typing import TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from nsfw_app.errors import RequestError
from nsfw_app.web.bodies import body
from nsfw_app.web.validation import describe

JSON = "application/json"
Model = TypeVar("Model", bound=BaseModel)


def media_type(request: Request) -> str:
    """The media type of a request's body, lower case and without parameters; empty if unknown."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_json(request: Request, model: type[Model], *, max_bytes: int) -> Model:
    """A request's body as a model. Any content type is accepted, as long as the body is JSON.

    Args:
        request: The request; its body was not read yet.
        model: What the body must look like.
        max_bytes: Most bytes of the body.

    Raises:
        RequestTooLarge: There is more.
        RequestTooSlow: It does not arrive.
        RequestError: It is empty, not JSON, or JSON of another shape.
    """
    sent_as = media_type(request)
    if sent_as.startswith(("multipart/", "image/")):
        raise RequestError(f"{request.url.path} takes JSON here, not {sent_as}.")
    data = await body(request, max_bytes=max_bytes)
    if not data:
        raise RequestError(f"The body is empty; {request.url.path} takes JSON.")
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        message = describe(first, first["loc"])
        if first["type"] == "json_invalid" and sent_as not in {"", JSON}:
            message += f" Its content type is {sent_as}; send {JSON}."
        raise RequestError(message) from None
