"""JSON of the cards that the page draws: one image with its verdict, placeholder and decision."""

import base64
from dataclasses import asdict
from typing import Any

from nsfw_app.decision import Decision
from nsfw_app.records import Preview, Review
from nsfw_app.review import image_json
from nsfw_app.review.engine import Engine
from nsfw_app.rules.permissions import Caller


def card_json(
    engine: Engine, review: Review, caller: Caller, *, queue_reason: str | None = None
) -> dict[str, Any]:
    """A review with what the page needs to draw it.

    - `placeholder`: data URL of the 24-pixel stand-in, or null.
    - `perceptual_hash`: for finding near-duplicates, or null.
    - `kept`: whether the server has a preview.
    - `seen`: whether the server has sent the caller a preview.
    - `incomplete`: whether pixels are missing.
    - `ground`: the color behind transparent pixels.
    - `decision`: the caller's own decision that stands, or null.
    - `queue_reason`: why it is in the queue from which it was claimed; null elsewhere.
    - `escalated`: whether the caller's request for a second opinion waits.
    - `restricted`: whether the image is hidden from this caller.
    """
    card = {**image_json.review_json(review), "placeholder": None, "decision": None}
    card |= {"perceptual_hash": None, "kept": False, "queue_reason": queue_reason}
    card |= {"escalated": False, "restricted": False, "seen": False}
    card["incomplete"] = review.image is not None and review.image.incomplete
    card["ground"] = review.prediction.background if review.prediction else None
    if review.prediction is not None and review.preview is not None:
        card["placeholder"] = placeholder_url(review.preview)
        card["perceptual_hash"] = review.preview.perceptual_hash
        if caller.owner is not None:
            decision = engine.standing(review.prediction, caller.name)
            card["decision"] = asdict(decision) if decision else None
            card["escalated"] = engine.queue.is_escalated(review.prediction, caller.name)
            card["seen"] = engine.was_sent(review.prediction.image_sha256, caller)
            if engine.hides(review.prediction.image_sha256, caller):
                return card | {"restricted": True, "placeholder": None, "perceptual_hash": None}
            card["kept"] = engine.has_preview(review.prediction.image_sha256)
    return card


def decision_json(engine: Engine, decision: Decision) -> dict[str, Any]:
    """A stored decision, and whether a preview of its image is still kept."""
    return {**asdict(decision), "kept": engine.has_preview(decision.image_sha256)}


def placeholder_url(preview: Preview) -> str | None:
    """The placeholder as a data URL; None after it was deleted."""
    if not preview.placeholder:
        return None
    return "data:image/webp;base64," + base64.b64encode(preview.placeholder).decode()
