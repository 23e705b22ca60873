"""Reads JSON bodies within limits on size, depth and number of parts."""

from typing import TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from nsfw_app.errors import NotJson, RequestError
from nsfw_app.web.http.bodies import chunks, in_slices
from nsfw_app.web.http.json_scanner import JsonSplitter
from nsfw_app.web.http.request_limits import RequestLimits
from nsfw_app.web.http.validation import describe

JSON = "application/json"
Model = TypeVar("Model", bound=BaseModel)


def media_type(request: Request) -> str:
    """The media type of a request, in lower case without parameters; empty if not sent."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_json(request: Request, model: type[Model], *, limits: RequestLimits) -> Model:
    """Read and validate a JSON body of any declared content type.

    Args:
        request: The request; its body has not been read.
        model: The schema.
        limits: The limits of the body.

    Raises:
        RequestTooLarge: The body passes a limit.
        RequestTooSlow: The body arrives below the minimum rate.
        RequestError: The body is empty, not JSON, or does not match the schema.
    """
    sent_as = media_type(request)
    if sent_as.startswith(("multipart/", "image/")):
        raise RequestError(f"{request.url.path} takes JSON here, not {sent_as}.")
    splitter = JsonSplitter(limits.json)
    try:
        async for chunk in chunks(request, max_bytes=limits.json_bytes):
            await in_slices(chunk, splitter.feed)
        if splitter.is_empty:
            raise RequestError(f"The body is empty; {request.url.path} takes JSON.")
        return model.model_validate(splitter.value())
    except NotJson as error:
        advice = "" if sent_as in {"", JSON} else f" Its content type is {sent_as}; send {JSON}."
        raise RequestError(f"{error}{advice}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise RequestError(describe(first, first["loc"])) from None
