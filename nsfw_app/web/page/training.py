"""Training labels: the model's misclassifications, their relabeling, and the export."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Literal

from fastapi import APIRouter
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from nsfw_app.records import Label
from nsfw_app.review import exports
from nsfw_app.review.engine import Engine
from nsfw_app.review.left_out import left_out_header
from nsfw_app.rules.permissions import Caller
from nsfw_app.store.audit import AuditAction
from nsfw_app.store.training import Misclassification
from nsfw_app.web.auth.callers import Exporter, Reviewer
from nsfw_app.web.page.card_json import placeholder_url
from nsfw_app.web.page.decisions import DAY_MS
from nsfw_app.web.parameters import RowId


class TrainingBody(BaseModel):
    """A training label; null excludes the image from the training set.

    The label may differ from the settled one, which it then corrects.
    """

    label: Literal[Label.NORMAL, Label.NSFW] | None
    seen: bool = False
    seen_ms: int | None = Field(None, ge=0, le=DAY_MS)


def training_routes(engine: Engine) -> APIRouter:
    """Routes below `/desk/training`."""
    router = APIRouter(prefix="/training")

    @router.get("")
    def groups(reviewer: Reviewer) -> dict[str, Any]:
        """Misclassifications, near-duplicates in one group.

        `total` counts those beyond the limit too, `hidden` the restricted images.
        """
        groups = engine.queue.misclassification_groups()
        return {
            "total": engine.queue.count_misclassifications(sum(map(len, groups))),
            "hidden": engine.queue.training.hidden(),
            "groups": [
                [misclassification_json(engine, each, reviewer) for each in group]
                for group in groups
            ],
        }

    @router.get("/left-out")
    def left_out(_: Exporter) -> dict[str, str]:
        """What the export leaves out, in a sentence; empty if nothing."""
        return {"left_out": engine.queue.training_left_out()}

    @router.post("/{prediction_id}")
    def decide(prediction_id: RowId, body: TrainingBody, reviewer: Reviewer) -> dict[str, bool]:
        engine.queue.training.decide(
            prediction_id, body.label, reviewer=reviewer.name, seen=body.seen, seen_ms=body.seen_ms
        )
        return {"saved": True}

    @router.post("/{prediction_id}/withdraw")
    def withdraw(prediction_id: RowId, reviewer: Reviewer) -> dict[str, bool]:
        """Undo: the image has no training label again."""
        engine.queue.training.withdraw(prediction_id, reviewer=reviewer.name)
        return {"withdrawn": True}

    @router.get("/labels.jsonl")
    def labels(exporter: Exporter) -> StreamingResponse:
        engine.audit.add(exporter.name, AuditAction.EXPORT, "training labels")
        lines: Iterator[str] = exports.training_jsonl(engine.queue.training.confirmed())
        return StreamingResponse(
            lines,
            media_type="application/x-ndjson",
            headers={
                "Content-Disposition": 'attachment; filename="training-labels.jsonl"',
                **left_out_header(engine.queue.training_left_out()),
            },
        )

    return router


def misclassification_json(
    engine: Engine, misclassification: Misclassification, caller: Caller
) -> dict[str, Any]:
    """A misclassification: its placeholder, and whether a preview is kept and was sent."""
    return {
        **asdict(misclassification),
        "sha256": misclassification.image_sha256,
        "placeholder": placeholder_url(engine.preview(misclassification.image_sha256)),
        "kept": engine.has_preview(misclassification.image_sha256),
        "seen": engine.was_sent(misclassification.image_sha256, caller),
    }
