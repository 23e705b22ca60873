"""What administrators set for the team: viewing defaults, and whether they review themselves."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from nsfw_app.review.engine import Engine
from nsfw_app.store.team import Reveal, ViewingDefaults
from nsfw_app.web.auth.callers import Manager

MAX_PAUSE_AFTER = 100_000


class ViewingBody(BaseModel):
    """Viewing defaults under the names of the browser's preferences; null leaves one unset."""

    blur_px: int | None = Field(
        None,
        alias="blurPx",
        ge=ViewingDefaults.MIN_BLUR_PX,
        le=ViewingDefaults.MAX_BLUR_PX,
    )
    grayscale: bool | None = Field(None, alias="greyscale")
    grayscale_revealed: bool | None = Field(None, alias="greyscaleRevealed")
    reveal: Reveal | None = None
    pause_after: int | None = Field(None, alias="pauseAfter", ge=0, le=MAX_PAUSE_AFTER)


class ReviewingBody(BaseModel):
    """Whether the caller reviews."""

    reviews: bool


def team_routes(engine: Engine) -> APIRouter:
    """`POST /desk/viewing-defaults` and `POST /desk/reviewing`."""
    router = APIRouter()

    @router.post("/viewing-defaults")
    def set_viewing_defaults(body: ViewingBody, manager: Manager) -> dict[str, Any]:
        engine.team.set_viewing_defaults(ViewingDefaults(**body.model_dump()), actor=manager.name)
        return viewing_json(engine)

    @router.post("/reviewing")
    def set_reviewing(body: ReviewingBody, manager: Manager) -> dict[str, bool]:
        """Stop reviewing, which shows every decision and forbids to record any; or start again."""
        engine.team.set_reviews(manager.name, body.reviews)
        return {"reviews": engine.team.reviews(manager.name)}

    return router


def viewing_json(engine: Engine) -> dict[str, Any]:
    """The viewing defaults in force, as the browser names them."""
    found = engine.team.viewing_defaults()
    return {
        "blurPx": found.blur_px,
        "greyscale": found.grayscale,
        "greyscaleRevealed": found.grayscale_revealed,
        "reveal": found.reveal,
        "pauseAfter": found.pause_after,
    }
