"""Error responses: one JSON shape, the kinds of `nsfw_app.errors`, and an HTTP status for each.

    {"error": {"kind": "truncated", "message": "a.jpg ends too early.", "request_id": "..."}}

A browser that navigates or submits a form gets the same message as a page; see `error_pages`.
A refused decision also has `images`: the SHA-256 of those concerned.
`request_id` is also in the header `X-Request-ID` of every response.
"""

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, Response

from nsfw_app.errors import (
    DecisionRefused,
    NotSignedIn,
    NSFWReviewError,
    Refusal,
    RequestOutOfMemory,
    RequestTooSlow,
    StorageError,
    TryLater,
    lacks_memory,
)
from nsfw_app.web.http.error_pages import error_page, wants_page
from nsfw_app.web.http.validation import describe
from nsfw_app.web.monitoring import monitor_of

log = logging.getLogger(__name__)

STATUSES: Mapping[str, int] = MappingProxyType(
    {
        "not_signed_in": 401,
        "forbidden": 403,
        "restricted": 403,
        "not_found": 404,
        "other_reviewer": 409,
        "no_pixels": 409,
        "other_model": 409,
        "cancelled": 409,
        "score_hidden": 403,
        "request_too_slow": 408,
        **dict.fromkeys(Refusal, 409),
        "lease": 409,
        "calibration": 409,
        "nothing_to_accept": 409,
        "request_too_large": 413,
        "too_large": 413,
        "too_many_pixels": 413,
        "not_an_image": 415,
        "prediction_failed": 422,
        "too_many_requests": 429,
        "overloaded": 503,
        "no_memory": 503,
        "model": 503,
        "model_loading": 503,
        "model_not_found": 503,
        "model_unsupported": 503,
        "model_damaged": 503,
        "model_library_missing": 503,
        "model_load_failed": 503,
        "storage_busy": 503,
        "storage_read_only": 503,
        "storage_corrupt": 503,
        "storage_missing": 503,
        "storage_failed": 503,
        "storage_full": 507,
    }
)  # other errors of this package are 400
DESCRIPTIONS: Mapping[int, str] = MappingProxyType(
    {
        400: "The request, or the image in it, is invalid.",
        401: "The request is not authenticated: no session and no valid API key.",
        403: "The API key's scopes or the user's role do not allow this.",
        404: "It does not exist, or belongs to another caller.",
        408: "The body arrived more slowly than 10 kB/s over 10 s.",
        409: "The present state does not allow it; the kind says why.",
        413: "More bytes or pixels than the limit.",
        415: "The file is not an image.",
        422: "The request has the wrong form, or the model failed on the image.",
        429: "The caller's share or the API key's rate limit is used up; see Retry-After.",
        503: "Overloaded, no model is loaded, or data cannot be saved; see Retry-After.",
        507: "The server's disk is full.",
    }
)
STORAGE = (503, 507)  # of any route: authentication reads the database
INTERNAL = "Internal error. See the server log for this request id."
MODEL_SECONDS = 5  # until the model may be loaded


class Problem(BaseModel):
    """A stable kind, a message, and the id of the request."""

    kind: str
    message: str
    request_id: str


class ProblemBody(BaseModel):
    """The body of every error response."""

    error: Problem


def status_of(error: NSFWReviewError) -> int:
    """The HTTP status of an error."""
    return STATUSES.get(error.kind, 400)


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe a route's errors in the OpenAPI document."""
    return {
        status: {"model": ProblemBody, "description": DESCRIPTIONS[status]}
        for status in sorted({*statuses, *STORAGE})
    }


def problem(connection: HTTPConnection, error: NSFWReviewError | MemoryError) -> Response:
    """Build the response for an error of this package or a failed allocation."""
    headers = {}
    if isinstance(error, MemoryError):
        log.warning("Request %s: not enough memory.", request_id(connection))
        error = RequestOutOfMemory()
    if isinstance(error, StorageError):
        log.warning("Request %s: %s (%s)", request_id(connection), error.kind, error.__cause__)
    if isinstance(error, TryLater):
        headers["Retry-After"] = str(error.retry_after_s)
    elif status_of(error) == 503:
        headers["Retry-After"] = str(MODEL_SECONDS)
    elif isinstance(error, NotSignedIn):
        headers["WWW-Authenticate"] = "Bearer"
    elif isinstance(error, RequestTooSlow):
        headers["Connection"] = "close"  # the rest of the body is discarded
    images = error.images if isinstance(error, DecisionRefused) else ()
    return _response(connection, status_of(error), error.kind, str(error), headers, images=images)


def install_error_handlers(app: FastAPI) -> None:
    """Install handlers that give every error of an application this shape."""

    async def known(request: Request, error: Exception) -> Response:
        if not isinstance(error, NSFWReviewError | MemoryError):  # not registered for others
            raise error
        return problem(request, error)

    async def invalid(request: Request, error: Exception) -> Response:
        if not isinstance(error, RequestValidationError):
            raise error
        first = error.errors()[0]
        path = first["loc"][1:]  # without `query`, `path` or `body`
        return _response(request, 422, "request", describe(first, path))

    async def protocol(request: Request, error: Exception) -> Response:
        if not isinstance(error, HTTPException):
            raise error
        if isinstance(
            error.__cause__, NSFWReviewError | MemoryError
        ):  # FastAPI's, for a body it could not read
            return problem(request, error.__cause__)
        return http_problem(request, error.status_code, str(error.detail), error.headers)

    async def unexpected(request: Request, error: Exception) -> Response:
        if lacks_memory(error):
            return problem(request, RequestOutOfMemory())
        log.error("Request %s failed.", request_id(request), exc_info=error)
        return _response(request, 500, "internal", INTERNAL)

    app.add_exception_handler(NSFWReviewError, known)
    app.add_exception_handler(MemoryError, known)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, protocol)
    app.add_exception_handler(Exception, unexpected)


def http_problem(
    connection: HTTPConnection,
    status: int,
    detail: str,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Build the response for an error of FastAPI or Gradio."""
    if status == 404:
        kind, message = "not_found", f"Not found: {connection.url.path}."
    elif status == 405:
        allowed = (headers or {}).get("Allow", "GET, HEAD")  # static files do not send it
        kind = "method_not_allowed"
        message = f"{connection.scope['method']} is not allowed here; allowed: {allowed}."
    elif status < 500:
        kind, message = "request", detail or HTTPStatus(status).phrase
    else:
        kind, message = "internal", INTERNAL
    return _response(connection, status, kind, message, headers)


def request_id(connection: HTTPConnection) -> str:
    """The id that `AuthMiddleware` assigned to a request."""
    return str(connection.scope["state"]["request_id"])


def _response(
    connection: HTTPConnection,
    status: int,
    kind: str,
    message: str,
    headers: Mapping[str, str] | None = None,
    *,
    images: Sequence[str] = (),
) -> Response:
    monitor_of(connection).errors.labels(kind).inc()
    identifier, headers = request_id(connection), dict(headers or {})
    if wants_page(connection):
        return error_page(connection, status, message, request_id=identifier, headers=headers)
    error: dict[str, Any] = {"kind": kind, "message": message, "request_id": identifier}
    if images:
        error["images"] = list(images)
    return JSONResponse({"error": error}, status, headers)
