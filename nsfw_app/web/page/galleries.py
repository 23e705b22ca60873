"""Galleries of the page that survive a reload: the caller's batches, and one of them reopened."""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter

from nsfw_app.review.engine import Engine
from nsfw_app.web.auth.callers import Reader
from nsfw_app.web.page.card_json import card_json


def gallery_routes(engine: Engine) -> APIRouter:
    """Routes below `/desk/gallery`."""
    router = APIRouter(prefix="/gallery")

    @router.get("/batches")
    def batches(reader: Reader) -> list[dict[str, Any]]:
        """The caller's batches, the latest first."""
        return [asdict(gallery) for gallery in engine.galleries.latest(reader)]

    @router.get("/batches/{batch_id}")
    def batch(batch_id: str, reader: Reader) -> dict[str, Any]:
        """The cards of a batch whose previews are kept, and what was left out."""
        gallery = engine.galleries.reopen(batch_id, reader)
        cards = [card_json(engine, review, reader) for review in gallery.reviews]
        return {"cards": cards, "left_out": gallery.left_out, "why": gallery.why}

    return router
