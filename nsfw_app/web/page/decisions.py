"""Decisions of reviewers: one, a batch of them, undo, and the latest ones."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, FailFast, Field
from typing_extensions import TypeAliasType

from nsfw_app.decision import NewDecision
from nsfw_app.records import Category, Label, Reason, Tab
from nsfw_app.review.engine import Engine
from nsfw_app.store.purges import RECENT_DECISIONS
from nsfw_app.web.auth.callers import Reviewer
from nsfw_app.web.page.card_json import card_json, decision_json
from nsfw_app.web.parameters import MAX_NAME_CHARACTERS, RowId, Sha256

MAX_DECISIONS = 1000  # decisions in one request
MAX_RECENT = 100
DAY_MS = 86_400_000
# An alias, because Python 3.11 cannot hash the annotation in a union.
Categories = TypeAliasType(
    "Categories", Annotated[list[Category], FailFast(), Field(max_length=len(Category))]
)


class DecisionBody(BaseModel):
    """A decision as the page sends it.

    - `nonce` makes a repeated request harmless.
    - `categories` is left out, or null, where the page did not ask for categories.
    """

    nonce: str
    image_sha256: Sha256
    label: Label
    threshold: float
    model: str
    revision: str
    backend: str
    reasons: Annotated[list[Reason], FailFast()] = Field([], max_length=len(Reason))
    note: str = ""
    batch_id: str = Field("", max_length=64)
    name: str = Field("", max_length=MAX_NAME_CHARACTERS)
    elapsed_ms: int | None = Field(None, ge=0, le=DAY_MS)
    seen: bool = False
    seen_ms: int | None = Field(None, ge=0, le=DAY_MS)
    tab: Tab | None = None
    policy_version: int | None = Field(None, ge=0, lt=1 << 63)
    entry_id: int | None = Field(None, ge=1, lt=1 << 63)
    categories: Categories | None = None

    def to_record(self) -> NewDecision:
        """The decision to store.

        Raises:
            DecisionError: Its values contradict each other or are out of range.
        """
        categories = None if self.categories is None else tuple(self.categories)
        lists = {"reasons": tuple(self.reasons), "categories": categories}
        return NewDecision(**{**self.model_dump(), **lists})


class BatchBody(BaseModel):
    """One decision for each image of a selection."""

    answers: Annotated[list[DecisionBody], FailFast()] = Field(
        min_length=1, max_length=MAX_DECISIONS
    )


class UndoBody(BaseModel):
    """The idempotency key of an undo."""

    nonce: str = Field(min_length=1, max_length=NewDecision.MAX_NONCE_CHARACTERS)


def decision_routes(engine: Engine) -> APIRouter:
    """Record, list and undo decisions."""
    router = APIRouter()

    @router.post("/decisions")
    def decide(body: DecisionBody, reviewer: Reviewer) -> dict[str, Any]:
        return decision_json(engine, engine.decide(body.to_record(), reviewer))

    @router.get("/recent")
    def recent(
        reviewer: Reviewer, limit: Annotated[int, Query(ge=1, le=MAX_RECENT)] = RECENT_DECISIONS
    ) -> dict[str, Any]:
        """The images of the reviewer's latest decisions that stand, newest first."""
        with engine.reading():
            images = [
                {**card_json(engine, review, reviewer), "decision": asdict(decision)}
                for decision, review in engine.recent(reviewer, limit=limit)
            ]
        return {"images": images}

    @router.post("/decisions/{decision_id}/undo")
    def undo(decision_id: RowId, body: UndoBody, reviewer: Reviewer) -> dict[str, Any]:
        """The decision that stands again, and whether the image's preview is kept."""
        standing = engine.undo(decision_id, reviewer=reviewer.name, nonce=body.nonce)
        kept = engine.has_preview(engine.log.get(decision_id).image_sha256)
        return {"standing": asdict(standing) if standing else None, "kept": kept}

    @router.post("/batches")
    def decide_batch(body: BatchBody, reviewer: Reviewer) -> dict[str, Any]:
        """Record all decisions of the batch, or none."""
        decisions = engine.decide_all([item.to_record() for item in body.answers], reviewer)
        return {"decisions": [decision_json(engine, decision) for decision in decisions]}

    @router.post("/batches/{batch_id}/undo")
    def undo_batch(batch_id: str, body: UndoBody, reviewer: Reviewer) -> dict[str, Any]:
        undone = engine.undo_batch(batch_id, reviewer=reviewer.name, nonce=body.nonce)
        return {"undone": [decision.decision_id for decision in undone]}

    return router
