"""Sampled images that reviewers label differently: `GET /desk/insights/disagreements`."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query

from nsfw_app.evidence.disagreements import disagreements
from nsfw_app.evidence.summaries import Summaries
from nsfw_app.review.engine import Engine
from nsfw_app.rules.permissions import Caller
from nsfw_app.web.auth.callers import Reader
from nsfw_app.web.page.card_json import placeholder_url
from nsfw_app.web.page.evidence import EvidenceParameters

MAX_SHOWN = 24


def disagreement_routes(engine: Engine, summaries: Summaries) -> APIRouter:
    """`GET /desk/insights/disagreements`."""
    router = APIRouter()

    @router.get("/insights/disagreements")
    def found(reader: Reader, query: Annotated[EvidenceParameters, Query()]) -> dict[str, Any]:
        """The worst of them; `total` counts all, `allowed` the unsafe ones below the band."""
        classifier = engine.status.classifier
        identity = summaries.identity(
            query.model, loaded=classifier.identity if classifier else None
        )
        since = None if query.days is None else datetime.now(UTC) - timedelta(days=query.days)
        population = summaries.population(identity, since=since, source=query.source)
        worst = disagreements(population, engine.policies.of(identity.model))
        ids = worst.prediction_ids
        return {
            "total": len(ids),
            "allowed": worst.allowed,
            "images": [
                _image_json(engine, prediction_id, reader, allowed=place < worst.allowed)
                for place, prediction_id in enumerate(ids[:MAX_SHOWN])
            ],
        }

    return router


def _image_json(
    engine: Engine, prediction_id: int, caller: Caller, *, allowed: bool
) -> dict[str, Any]:
    """An image with its score; without placeholder where the caller may not see it."""
    image, name = engine.stored(prediction_id)
    sha256, score = image.info.sha256, image.prediction.nsfw_score
    shown = engine.shows(sha256, caller)
    return {
        "sha256": sha256,
        "name": name,
        "nsfw_score": score,
        "allowed": allowed,
        "placeholder": placeholder_url(engine.preview(sha256)) if shown else None,
        "kept": shown and engine.has_preview(sha256),
    }
