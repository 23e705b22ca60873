"""Calibrations of the page: the one in force, and fitting the next version."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from nsfw_app.evidence.calibrations import calibration_json
from nsfw_app.evidence.summaries import Summaries
from nsfw_app.records import ModelIdentity
from nsfw_app.review.engine import Engine
from nsfw_app.web.auth.callers import Manager, Reader

Model = Annotated[str | None, Query()]


def calibration_routes(engine: Engine, summaries: Summaries) -> APIRouter:
    """`GET /desk/calibrations` and `POST /desk/calibrations`.

    Both take the name of a model, the loaded one without it, and return `{"calibration": ...}`,
    which is null where none is in force.
    """
    router = APIRouter()

    def identity(model: str | None) -> ModelIdentity:
        classifier = engine.status.classifier
        loaded = classifier.identity if classifier else None
        return summaries.identity(model, loaded=loaded)

    @router.get("/calibrations")
    def in_force(_: Reader, model: Model = None) -> dict[str, Any]:
        return {"calibration": calibration_json(summaries.calibrations.of(identity(model)))}

    @router.post("/calibrations")
    def refit(manager: Manager, model: Model = None) -> dict[str, Any]:
        fitted = summaries.calibrations.refit(identity(model), author=manager.name)
        return {"calibration": calibration_json(fitted)}

    return router
