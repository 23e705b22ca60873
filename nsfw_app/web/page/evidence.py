"""The evidence behind the policy, for the Insights tab: `GET /desk/insights`.

Its numbers are those of `GET /v1/insights`; it adds the choices of the tab's filters, and whether
the evidence is of the model that runs.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from nsfw_app.evidence.summaries import EvidenceQuery, Summaries
from nsfw_app.records import ModelIdentity
from nsfw_app.review.engine import Engine
from nsfw_app.web.auth.callers import Reader
from nsfw_app.web.parameters import MAX_DAYS, MAX_NAME_CHARACTERS

HASH_CHARACTERS = 12  # of a revision, in sentences


class EvidenceParameters(BaseModel):
    """The last `days`, a source and a model's name; what is left out selects all.

    Without a model, the evidence is that of the model that runs.
    """

    days: int | None = Field(None, ge=1, le=MAX_DAYS)
    source: str | None = Field(None, max_length=MAX_NAME_CHARACTERS)
    model: str | None = Field(None, max_length=MAX_NAME_CHARACTERS)


def evidence_routes(engine: Engine, summaries: Summaries) -> APIRouter:
    """`GET /desk/insights`."""
    router = APIRouter()

    @router.get("/insights")
    def insights(_: Reader, query: Annotated[EvidenceParameters, Query()]) -> dict[str, Any]:
        """The summary of the chosen images, and the choices.

        - `models`: names, the one that runs first; `runs` says whether the summary is of that one.
        - `alarms` include one where the running model has no evidence and another model has.
        """
        from nsfw_app.evidence.summary_json import summary_json  # slow to import

        classifier = engine.status.classifier
        running = classifier.identity if classifier else None
        identity = summaries.identity(query.model, loaded=running)
        wanted = EvidenceQuery(identity, query.days, query.source)
        found = summary_json(summaries.get(wanted), wanted)
        arrived = summaries.images.models()
        names = [] if running is None else [running.model]
        if running is not None and arrived and not summaries.has_images(running):
            found["alarms"] = [_unknown(running, arrived[0]), *found["alarms"]]
        return {
            **found,
            "sources": summaries.images.sources(),
            "models": list(dict.fromkeys([*names, *(other.model for other in arrived)])),
            "runs": identity == running,
        }

    return router


def _unknown(running: ModelIdentity, other: ModelIdentity) -> str:
    return (
        f"The model that runs now has no evidence: {_name(running)}. The images so far were judged "
        f"by {_name(other)}."
    )


def _name(identity: ModelIdentity) -> str:
    return f"{identity.model}, revision {identity.revision[:HASH_CHARACTERS]}, {identity.backend}"
