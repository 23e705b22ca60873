"""Work queue of the page: claim, renew and release leases, skip, request a second opinion."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from nsfw_app.records import ModelIdentity
from nsfw_app.review.engine import Engine
from nsfw_app.rules.queue import QueueOrder
from nsfw_app.web.auth.callers import Reviewer
from nsfw_app.web.page.cards import card_json
from nsfw_app.web.parameters import RowId, Sha256


class ClaimBody(BaseModel):
    """How many entries to lease, and which ones the page already holds."""

    count: int = Field(1, ge=1, le=10)
    holding: list[RowId] = Field([], max_length=100)
    order: QueueOrder = QueueOrder.PRIORITY
    first: RowId | None = None


class EntriesBody(BaseModel):
    """Leased entries."""

    entries: list[int] = Field(max_length=100)


class PredictionBody(BaseModel):
    """Identifies the prediction of one image by one model."""

    image_sha256: Sha256
    model: str
    revision: str
    backend: str


def queue_routes(engine: Engine) -> APIRouter:
    """Routes below `/desk/queue`."""
    router = APIRouter(prefix="/queue")

    @router.get("")
    def waiting(reviewer: Reviewer) -> dict[str, int]:
        return {"waiting": engine.queue.waiting(reviewer.name)}

    @router.post("/claim")
    def claim(body: ClaimBody, reviewer: Reviewer) -> dict[str, Any]:
        status = engine.status
        items = engine.queue.claim(
            reviewer.name,
            model=status.classifier.identity.model if status.classifier else status.wanted,
            count=body.count,
            holding=body.holding,
            order=body.order,
            first=body.first,
        )
        cards = [
            {**card_json(engine, item.review, reviewer), "entry_id": item.entry_id}
            for item in items
        ]
        return {"items": cards, "waiting": engine.queue.waiting(reviewer.name)}

    @router.post("/renew")
    def renew(body: EntriesBody, reviewer: Reviewer) -> dict[str, list[int]]:
        return {"entries": engine.queue.renew(body.entries, reviewer.name)}

    @router.post("/release")
    def release(body: EntriesBody, reviewer: Reviewer) -> dict[str, bool]:
        engine.queue.release(body.entries, reviewer.name)
        return {"released": True}

    @router.post("/{entry_id}/skip")
    def skip(entry_id: RowId, reviewer: Reviewer) -> dict[str, bool]:
        engine.queue.skip(entry_id, reviewer.name)
        return {"skipped": True}

    @router.post("/second-opinion")
    def second_opinion(body: PredictionBody, reviewer: Reviewer) -> dict[str, bool]:
        identity = ModelIdentity(body.model, body.revision, "", body.backend)
        asked = engine.queue.request_second_opinion(body.image_sha256, identity, reviewer)
        return {"asked": asked}

    return router
