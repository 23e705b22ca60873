"""The routes of the queue, of answers to a selection, and of training labels, below /desk."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, FailFast, Field

from nsfw_app.records import Label, ModelIdentity
from nsfw_app.review import exports
from nsfw_app.review.engine import Engine
from nsfw_app.rules.queue import QueueOrder
from nsfw_app.store.audit import AuditAction
from nsfw_app.store.training import Misclassification
from nsfw_app.web.auth.callers import Exporter, Reviewer
from nsfw_app.web.page.routes import (
    HASH,
    AnswerBody,
    RowId,
    UndoBody,
    answer_of,
    card_json,
    decision_json,
    placeholder_url,
)

MAX_BATCH = 1000


class ClaimBody(BaseModel):
    """How many images are wanted, and what is at hand."""

    count: int = Field(1, ge=1, le=10)
    holding: list[RowId] = Field([], max_length=100)
    order: QueueOrder = QueueOrder.PRIORITY
    first: RowId | None = None


class EntriesBody(BaseModel):
    """Entries on loan."""

    entries: list[int] = Field(max_length=100)


class PredictionBody(BaseModel):
    """Which model's prediction of which image."""

    image_sha256: str = Field(pattern=HASH)
    model: str
    revision: str
    backend: str


class BatchBody(BaseModel):
    """One answer for each image of a selection."""

    answers: Annotated[list[AnswerBody], FailFast()] = Field(min_length=1, max_length=MAX_BATCH)


def misclassification_json(engine: Engine, misclassification: Misclassification) -> dict[str, Any]:
    """A settled error for the page, with a placeholder to draw."""
    return {
        **asdict(misclassification),
        "sha256": misclassification.image_sha256,
        "placeholder": placeholder_url(engine.preview(misclassification.image_sha256)),
        "kept": engine.has_preview(misclassification.image_sha256),
    }


class TrainingBody(BaseModel):
    """A training label, or null to set the image aside."""

    label: Label | None


def queue_routes(engine: Engine) -> APIRouter:
    """Loans of images that wait."""
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
            {
                **card_json(engine, item.review, reviewer),
                "entry_id": item.entry_id,
            }
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


def batch_routes(engine: Engine) -> APIRouter:
    """Answers to a selection, undone together."""
    router = APIRouter()

    @router.post("/batches")
    def decide_all(body: BatchBody, reviewer: Reviewer) -> dict[str, Any]:
        answers = [answer_of(answer) for answer in body.answers]
        made = engine.decide_all(answers, reviewer)
        return {"decisions": [decision_json(engine, decision) for decision in made]}

    @router.post("/batches/{batch_id}/undo")
    def undo_batch(batch_id: str, body: UndoBody, reviewer: Reviewer) -> dict[str, Any]:
        undone = engine.undo_batch(batch_id, reviewer=reviewer.name, nonce=body.nonce)
        return {"undone": [decision.decision_id for decision in undone]}

    return router


def training_routes(engine: Engine) -> APIRouter:
    """The model's settled errors, and what becomes of them."""
    router = APIRouter(prefix="/training")

    @router.get("")
    def groups(_: Reviewer) -> dict[str, Any]:
        return {
            "groups": [
                [misclassification_json(engine, misclassification) for misclassification in group]
                for group in engine.queue.misclassification_groups()
            ]
        }

    @router.post("/{prediction_id}")
    def decide(prediction_id: RowId, body: TrainingBody, reviewer: Reviewer) -> dict[str, bool]:
        engine.queue.label_for_training(prediction_id, body.label, reviewer.name)
        return {"saved": True}

    @router.get("/labels.jsonl")
    def labels(exporter: Exporter) -> StreamingResponse:
        engine.audit.add(exporter.name, AuditAction.EXPORT, "training labels")
        lines: Iterator[str] = exports.training_jsonl(engine.queue.training_labels())
        return StreamingResponse(
            lines,
            media_type="application/x-ndjson",
            headers={"Content-Disposition": 'attachment; filename="training-labels.jsonl"'},
        )

    return router
