"""Explanations of the page: request one, poll it, cancel it.

    POST   /desk/images/{sha256}/explanation   JSON, or the image's file
    GET    /desk/explanations/{id}
    DELETE /desk/explanations/{id}

- JSON `{model, revision, backend}` names the prediction on the screen. The kept preview is
  explained.
- Where none is kept (the error `no_pixels`), the image's file is the body, and the names are query
  parameters.
- Every response is `{status, progress, id, explanation, error}`. A request that is not polled for
  some seconds is cancelled.
"""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel

from nsfw_app.accounts import Accounts
from nsfw_app.errors import RequestError
from nsfw_app.imaging import decode
from nsfw_app.records import ModelIdentity
from nsfw_app.review.explanation_requests import ExplanationStatus
from nsfw_app.web.auth.callers import Visitor
from nsfw_app.web.http.forwarding import client_address
from nsfw_app.web.http.gate import ClassifyGate
from nsfw_app.web.http.json_bodies import JSON, media_type, read_json
from nsfw_app.web.page.images import Sha256Path
from nsfw_app.web.parameters import MAX_NAME_CHARACTERS

NAME = "The image"


class ModelNames(BaseModel):
    """The model of a prediction. Empty where a file is sent with query parameters instead."""

    model: str = ""
    revision: str = ""
    backend: str = ""

    @property
    def identity(self) -> ModelIdentity:
        """The model; predictions are found without the hash of its weights."""
        return ModelIdentity(self.model, self.revision, "", self.backend)


def explanation_routes(gate: ClassifyGate, accounts: Accounts) -> APIRouter:
    """Request, poll and cancel explanations."""
    router = APIRouter()
    explanations = gate.engine.explanations

    @router.post("/images/{sha256}/explanation")
    async def start(
        request: Request,
        sha256: Sha256Path,
        visitor: Visitor,
        names: Annotated[ModelNames, Query()],
        name: Annotated[str, Query(max_length=MAX_NAME_CHARACTERS)] = NAME,
    ) -> dict[str, Any]:
        """Start the explanation of a score, unless it is computed already."""
        if visitor.owner is None:
            accounts.count_demo(client_address(request))
        if media_type(request) == JSON:
            body = await read_json(request, ModelNames, limits=gate.limits)
            status = await run_in_threadpool(explanations.start, sha256, body.identity, visitor)
            return status_json(status)
        async with gate.slot(request):
            data = await gate.file(request, name=name)
            if await gate.run(decode.sha256, data) != sha256:
                raise RequestError(f"The file that was sent is not image {sha256}.")
            status = await gate.run(
                explanations.start_with_file, data, name, names.identity, visitor
            )
        return status_json(status)

    @router.get("/explanations/{request_id}")
    def poll(request_id: str, visitor: Visitor) -> dict[str, Any]:
        """State and progress of an explanation, and its result."""
        return status_json(explanations.status(request_id, visitor))

    @router.delete("/explanations/{request_id}")
    def cancel(request_id: str, visitor: Visitor) -> dict[str, Any]:
        """Cancel an explanation."""
        return status_json(explanations.cancel(request_id, visitor))

    return router


def status_json(status: ExplanationStatus) -> dict[str, Any]:
    """The JSON of a request for an explanation."""
    explanation = status.explanation
    return {
        "status": status.status,
        "progress": status.progress,
        "id": status.id,
        "explanation": explanation.to_json() if explanation else None,
        "error": asdict(status.error) if status.error else None,
    }
