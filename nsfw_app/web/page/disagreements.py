"""Sampled images that reviewers label differently: `GET /desk/insights/disagreements`."""

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field

from nsfw_app.evidence.disagreements import disagreements
from nsfw_app.evidence.summaries import Summaries
from nsfw_app.review.engine import Engine
from nsfw_app.rules.permissions import Caller
from nsfw_app.web.auth.callers import Reader
from nsfw_app.web.page.card_json import placeholder_url
from nsfw_app.web.page.evidence import DecisionParameters

MAX_SHOWN = 24


class Kind(StrEnum):
    """Which disagreements."""

    MISSED = "missed"
    FALSE_ALARMS = "false_alarms"


class DisagreementParameters(DecisionParameters):
    """Whose, which, and how many of them to leave out from the first one."""

    kind: Kind = Kind.MISSED
    offset: int = Field(0, ge=0, lt=1 << 31)


def disagreement_routes(engine: Engine, summaries: Summaries) -> APIRouter:
    """`GET /desk/insights/disagreements`."""
    router = APIRouter()

    @router.get("/insights/disagreements")
    def listed(reader: Reader, query: Annotated[DisagreementParameters, Query()]) -> dict[str, Any]:
        """The next images of a kind, the worst first, and how many there are of each kind.

        With a reviewer, those that this reviewer has decided on.
        """
        classifier = engine.status.classifier
        identity = summaries.identity(
            query.model, loaded=classifier.identity if classifier else None
        )
        since = None if query.days is None else datetime.now(UTC) - timedelta(days=query.days)
        own = None
        if query.reviewer is not None:
            own = summaries.decisions(identity, reviewer=query.reviewer).prediction_ids
        found = disagreements(
            summaries.population(identity, since=since, source=query.source),
            engine.policies.of(identity.model),
            among=own,
        )
        missed = query.kind == Kind.MISSED
        ids = found.missed if missed else found.false_alarms
        allowed = found.allowed if missed else 0
        end = query.offset + MAX_SHOWN
        return {
            "missed": len(found.missed),
            "allowed": found.allowed,
            "false_alarms": len(found.false_alarms),
            "images": [
                _image_json(engine, prediction_id, reader, allowed=place < allowed)
                for place, prediction_id in enumerate(ids[query.offset : end], query.offset)
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
