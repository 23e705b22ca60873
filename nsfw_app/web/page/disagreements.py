"""Sampled images that reviewers label differently: `GET /desk/insights/disagreements`."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query

from nsfw_app.evidence.disagreements import disagreements
from nsfw_app.evidence.summaries import Summaries
from nsfw_app.review.engine import Engine
from nsfw_app.rules.permissions import Caller
from nsfw_app.web.auth.callers import Reader
from nsfw_app.web.page.card_json import placeholder_url
from nsfw_app.web.page.evidence import DecisionParameters

MAX_SHOWN = 24


def disagreement_routes(engine: Engine, summaries: Summaries) -> APIRouter:
    """`GET /desk/insights/disagreements`."""
    router = APIRouter()

    @router.get("/insights/disagreements")
    def listed(reader: Reader, query: Annotated[DecisionParameters, Query()]) -> dict[str, Any]:
        """The worst of them; `total` counts all, `allowed` the unsafe ones below the band.

        With a reviewer, those that this reviewer has decided on.
        """
        classifier = engine.status.classifier
        identity = summaries.identity(
            query.model, loaded=classifier.identity if classifier else None
        )
        since = None if query.days is None else datetime.now(UTC) - timedelta(days=query.days)
        population = summaries.population(identity, since=since, source=query.source)
        worst = disagreements(population, engine.policies.of(identity.model))
        found = [(each, place < worst.allowed) for place, each in enumerate(worst.prediction_ids)]
        if query.reviewer is not None:
            own = summaries.decisions(identity, reviewer=query.reviewer).prediction_ids
            decided = np.isin(worst.prediction_ids, own)
            found = [item for item, keep in zip(found, decided, strict=True) if keep]
        return {
            "total": len(found),
            "allowed": sum(allowed for _, allowed in found),
            "images": [
                _image_json(engine, prediction_id, reader, allowed=allowed)
                for prediction_id, allowed in found[:MAX_SHOWN]
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
