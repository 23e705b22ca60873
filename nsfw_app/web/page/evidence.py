"""The evidence behind the policy, for the Insights tab: `GET /desk/insights`, its audit plan.

Its numbers are those of `GET /v1/insights`; it adds the choices of the tab's filters, and whether
the evidence is of the model that runs.
"""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field

from nsfw_app.decision import NewDecision
from nsfw_app.evidence.alarms import current_alarms, model_alarms, other_running
from nsfw_app.evidence.summaries import EvidenceQuery, Summaries
from nsfw_app.review.engine import Engine
from nsfw_app.web.auth.callers import Manager, Reader
from nsfw_app.web.parameters import MAX_NAME_CHARACTERS, EvidenceSelection, single_values


class DecisionParameters(EvidenceSelection):
    """The evidence, and whose decisions: a reviewer's name; without it all."""

    reviewer: str | None = Field(None, min_length=1, max_length=MAX_NAME_CHARACTERS)


class AuditParameters(BaseModel):
    """The target of an audit plan, for a model's name; without one, the model that runs."""

    model_config = ConfigDict(extra="forbid")

    recall: float = Field(0.95, gt=0, lt=1)
    confidence: float = Field(0.9, gt=0, lt=1)
    max_reviews_a_day: float | None = Field(None, ge=0)
    model: str | None = Field(None, min_length=1, max_length=MAX_NAME_CHARACTERS)


class ReferenceBody(BaseModel):
    """Why images are accepted as the reference."""

    reason: str = Field(max_length=NewDecision.MAX_NOTE_CHARACTERS)


def evidence_routes(engine: Engine, summaries: Summaries) -> APIRouter:
    """`GET /desk/insights`, its alarms, reference and audit plan."""
    router = APIRouter()

    @router.get("/insights", dependencies=[Depends(single_values)])
    def insights(_: Reader, query: Annotated[EvidenceSelection, Query()]) -> dict[str, Any]:
        """The summary of the chosen images, and the choices.

        - `models`: names, the one that runs first; `runs` says whether the summary is of that one.
        - `alarms` include one where the evidence behind the policy is of another model than runs.
        """
        from nsfw_app.evidence.summary_json import summary_json  # slow to import

        classifier = engine.status.classifier
        running = classifier.identity if classifier else None
        identity = summaries.identity(query.model, loaded=running)
        wanted = EvidenceQuery(identity, query.days, query.source)
        found = summary_json(
            summaries.get(wanted),
            wanted,
            model_alarms=model_alarms(summaries, running),
            running=other_running(summaries, identity, running),
        )
        arrived = summaries.images.models()
        names = [] if running is None else [running.model]
        return {
            **found,
            "sources": summaries.images.sources(),
            "models": list(dict.fromkeys([*names, *(other.model for other in arrived)])),
            "runs": identity == running,
        }

    @router.get("/insights/alarms")
    def alarms(_: Reader) -> dict[str, list[str]]:
        """Why the evidence behind the policy in force no longer holds; shown in other tabs."""
        classifier = engine.status.classifier
        running = classifier.identity if classifier else None
        return {"alarms": current_alarms(summaries, running)}

    @router.post("/insights/reference")
    def accept(
        body: ReferenceBody, manager: Manager, query: Annotated[EvidenceSelection, Query()]
    ) -> dict[str, Any]:
        """Take all images so far as the reference of drift; the query is that of the summary."""
        classifier = engine.status.classifier
        running = classifier.identity if classifier else None
        identity = summaries.identity(query.model, loaded=running)
        wanted = EvidenceQuery(identity, query.days, query.source)
        accepted = summaries.accept_images(wanted, author=manager.name, reason=body.reason)
        return {"accepted": asdict(accepted[-1])}

    @router.get("/insights/audit-plan")
    def audit_plan(_: Reader, query: Annotated[AuditParameters, Query()]) -> dict[str, Any]:
        """The proposal of the command `audit-plan`, in the same sentences."""
        from nsfw_app.evidence.audit_forecast import forecast_audits  # slow to import

        classifier = engine.status.classifier
        identity = summaries.identity(
            query.model, loaded=classifier.identity if classifier else None
        )
        found = forecast_audits(
            summaries,
            identity,
            engine.policies.of(identity.model),
            recall=query.recall,
            confidence=query.confidence,
            max_reviews_a_day=query.max_reviews_a_day,
        )
        return {
            "sentences": [*found.introduction(), found.outcome()],
            "settings": found.settings(summaries.queue_reasons),
        }

    return router
