"""Images of the page: upload, classification, and the previews that a caller may see.

- Files arrive one per request, so that each is classified, refused or stopped independently.
- Without signing in, an image can be tried in the Review tab; nothing of it is stored.
- A preview is sent only to a caller who may see it; see `Engine.preview_jpeg`.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from nsfw_app.accounts import Accounts
from nsfw_app.errors import ImageError, ImageRestricted, NotSignedIn
from nsfw_app.records import SHA256_PATTERN, Background, Review, Upload
from nsfw_app.review import image_json
from nsfw_app.review.engine import Engine
from nsfw_app.rules.permissions import Caller, retain_upload
from nsfw_app.web.auth.callers import Manager, Visitor
from nsfw_app.web.http.forwarding import client_address
from nsfw_app.web.http.gate import ClassifyGate
from nsfw_app.web.page.card_json import card_json
from nsfw_app.web.parameters import MAX_NAME_CHARACTERS

Sha256Path = Annotated[str, Path(pattern=SHA256_PATTERN)]


def image_routes(gate: ClassifyGate, accounts: Accounts) -> APIRouter:
    """Upload an image, and render a preview of one that is not stored."""
    router = APIRouter()
    engine = gate.engine

    @router.post("/images")
    async def add_image(
        request: Request,
        visitor: Visitor,
        name: Annotated[str, Query(max_length=MAX_NAME_CHARACTERS)],
        source: Annotated[str, Query(max_length=64)],
        batch_id: Annotated[str, Query(max_length=64)] = "",
    ) -> dict[str, Any]:
        """Classify one file. One that cannot be classified is an `unavailable` card, status 200."""
        upload = Upload(name, source, visitor.owner, batch_id, retain_upload(visitor))
        if visitor.owner is None:
            _check_demo(request, upload, accounts)
        async with gate.slot(request):
            try:
                data = await gate.file(request, name=name)
            except ImageError as error:
                return image_json.review_json(gate.record(engine.unavailable(name, error)))
            review = await gate.review(data, upload)
            return await run_in_threadpool(_card, engine, review, visitor)

    @router.post("/pictures")
    async def render_preview(
        request: Request,
        visitor: Visitor,
        name: Annotated[str, Query(max_length=MAX_NAME_CHARACTERS)],
        frame: Annotated[int, Query(ge=0, lt=1 << 31)] = 0,
        background: Annotated[Background, Query(alias="ground")] = Background.WHITE,
    ) -> Response:
        """Render a preview of an uploaded file, for one of which none is stored."""
        if visitor.owner is None:
            accounts.count_demo(client_address(request))
        async with gate.slot(request):
            data = await gate.file(request, name=name)
            jpeg = await gate.run(
                engine.render_preview,
                data,
                name=name,
                frame=frame,
                background=background,
                caller=visitor,
            )
        return Response(jpeg, media_type="image/jpeg")

    return router


def preview_routes(engine: Engine) -> APIRouter:
    """Read stored previews, and lift restrictions."""
    router = APIRouter()

    @router.api_route("/images/{sha256}/picture", methods=["GET", "HEAD"])
    def preview(request: Request, sha256: str, visitor: Visitor) -> Response:
        """The stored preview of an image."""
        return sent(request, engine.preview_jpeg(sha256, visitor), sha256, visitor)

    @router.api_route("/images/{sha256}/thumbnail", methods=["GET", "HEAD"])
    def thumbnail(request: Request, sha256: str, visitor: Visitor) -> Response:
        """The stored preview of an image, smaller."""
        return sent(request, engine.thumbnail_jpeg(sha256, visitor), sha256, visitor)

    def sent(request: Request, jpeg: bytes, sha256: str, caller: Caller) -> Response:
        if request.method == "GET":  # HEAD sends no pixels
            engine.record_view(sha256, caller)
        return Response(jpeg, media_type="image/jpeg")

    @router.post("/images/{sha256}/unrestrict")
    def unrestrict(sha256: Sha256Path, manager: Manager) -> dict[str, bool]:
        """Show an image that was restricted because of a minor again as any other."""
        engine.lift_restriction(sha256, actor=manager.name)
        return {"restricted": False}

    return router


def _card(engine: Engine, review: Review, caller: Caller) -> dict[str, Any]:
    """The card of an upload; `unavailable` where the image is restricted."""
    card = card_json(engine, review, caller)
    if card["restricted"]:
        return image_json.review_json(engine.unavailable(review.name, ImageRestricted()))
    return card


def _check_demo(request: Request, upload: Upload, accounts: Accounts) -> None:
    """Allow a caller who is not signed in one image at a time, in the Review tab only.

    Raises:
        NotSignedIn: The upload is for another tab.
        TooManyRequests: This address, or all addresses together, exceeded the demo's rate limit.
    """
    if upload.source != "review" or upload.batch_id:
        raise NotSignedIn("Sign in to classify images outside the Review tab.")
    accounts.count_demo(client_address(request))
