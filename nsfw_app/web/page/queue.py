"""Work queue of the page: claim, renew and release leases, skip, request a second opinion.

- An item whose reason is blind has no score, label, action or probabilities, of neither model.
- Skips and requests for a second opinion can be undone.
"""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from nsfw_app.records import ModelIdentity
from nsfw_app.review.engine import Engine
from nsfw_app.review.queue import QueueItem
from nsfw_app.rules.permissions import Caller
from nsfw_app.rules.queue import EntryReason, QueueOrder
from nsfw_app.web.auth.callers import Manager, Reviewer
from nsfw_app.web.page.card_json import card_json
from nsfw_app.web.parameters import RowId, Sha256

HIDDEN = dict.fromkeys(("nsfw_score", "probabilities", "label", "action", "categories", "detail"))


class ClaimBody(BaseModel):
    """How many entries to lease, and which ones the page already holds."""

    count: int = Field(1, ge=1, le=10)
    holding: list[RowId] = Field([], max_length=100)
    order: QueueOrder = QueueOrder.PRIORITY
    reason: EntryReason | None = None
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

    @property
    def identity(self) -> ModelIdentity:
        """The model; predictions are found without the hash of its weights."""
        return ModelIdentity(self.model, self.revision, "", self.backend)


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
            reason=body.reason,
            first=body.first,
        )
        with engine.reading():
            cards = [item_json(engine, item, reviewer) for item in items]
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

    @router.post("/entries/{entry_id}/unskip")
    def unskip(entry_id: RowId, reviewer: Reviewer) -> dict[str, bool]:
        """Undo a skip: the entry is leased to the caller again."""
        engine.queue.unskip(entry_id, reviewer.name)
        return {"leased": True}

    @router.get("/summary")
    def summary(reviewer: Reviewer) -> dict[str, Any]:
        """The open entries: those the caller could claim, and how many are hidden and why."""
        found = engine.queue.summary(reviewer.name)
        return {
            **asdict(found),
            "waiting": found.waiting,
            "hidden": found.held + found.decided,
        }

    @router.post("/second-opinion")
    def second_opinion(body: PredictionBody, reviewer: Reviewer) -> dict[str, bool]:
        asked = engine.queue.request_second_opinion(body.image_sha256, body.identity, reviewer)
        return {"asked": asked}

    @router.post("/second-opinion/withdraw")
    def withdraw(body: PredictionBody, reviewer: Reviewer) -> dict[str, Any]:
        """Undo the caller's request; `entry_id` where the entry is leased to them again."""
        entry_id = engine.queue.withdraw_second_opinion(body.image_sha256, body.identity, reviewer)
        return {"withdrawn": True, "entry_id": entry_id}

    return router


def lease_routes(engine: Engine) -> APIRouter:
    """Routes below `/desk/queue/leases`, for administrators."""
    router = APIRouter(prefix="/queue/leases")

    @router.get("")
    def leases(_: Manager) -> list[dict[str, Any]]:
        """Every lease in force, with the name of its image."""
        return [
            {**asdict(lease), "name": engine.queue.image_name(lease.image_sha256)}
            for lease in engine.queue.held()
        ]

    @router.post("/{entry_id}/release")
    def revoke(entry_id: RowId, manager: Manager) -> dict[str, bool]:
        """End the lease of any reviewer."""
        engine.queue.revoke(entry_id, actor=manager.name)
        return {"released": True}

    return router


def item_json(engine: Engine, item: QueueItem, reviewer: Caller) -> dict[str, Any]:
    """The card of a claimed image, its entry, and why it waits."""
    card = card_json(engine, item.review, reviewer)
    if item.blind:
        card |= HIDDEN
    return {
        **card,
        "entry_id": item.entry_id,
        "queue_reason": item.reason,
        "blind": item.blind,
    }
