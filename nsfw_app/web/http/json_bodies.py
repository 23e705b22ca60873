"""Bodies in JSON of routes that read them by hand, so that they can be limited."""

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
    """The media type of a request's body, lower case and without parameters; empty if unknown."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_json(request: Request, model: type[Model], *, limits: RequestLimits) -> Model:
    """A request's body as a model. Any content type is accepted, as long as the body is JSON.

    Args:
        request: The request; its body was not read yet.
        model: What the body must look like.
        limits: What the body may hold.

    Raises:
        RequestTooLarge: It passes a limit.
        RequestTooSlow: It arrives more slowly than the minimum rate.
        RequestError: It is empty, not JSON, or JSON of another shape.
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
