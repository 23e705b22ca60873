"""Images of the page: upload, classification, and the previews that a caller may see.

- Files arrive one per request, so that each is classified, refused or stopped independently.
- Without signing in, an image can be tried in the Review tab; nothing of it is stored.
- A preview is sent only to a caller who may see it; see `Engine.preview_jpeg`.
"""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from nsfw_app.accounts import Accounts
from nsfw_app.errors import ImageError, NotSignedIn
from nsfw_app.records import Background, Upload
from nsfw_app.review import image_json
from nsfw_app.rules.permissions import Caller, retain_upload
from nsfw_app.web.auth.callers import Visitor
from nsfw_app.web.http.forwarding import client_address
from nsfw_app.web.http.gate import ClassifyGate
from nsfw_app.web.page.cards import card_json
from nsfw_app.web.parameters import MAX_NAME_CHARACTERS


def image_routes(gate: ClassifyGate, accounts: Accounts) -> APIRouter:
    """Upload an image, render a preview of one that is not stored, read stored previews."""
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
            return await run_in_threadpool(card_json, engine, review, visitor)

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
                engine.render_preview, data, name=name, frame=frame, background=background
            )
        return Response(jpeg, media_type="image/jpeg")

    @router.api_route("/images/{sha256}/picture", methods=["GET", "HEAD"])
    def preview(sha256: str, visitor: Visitor) -> Response:
        """The stored preview of an image."""
        return _jpeg(engine.preview_jpeg, sha256, visitor)

    @router.api_route("/images/{sha256}/thumbnail", methods=["GET", "HEAD"])
    def thumbnail(sha256: str, visitor: Visitor) -> Response:
        """The stored preview of an image, smaller."""
        return _jpeg(engine.thumbnail_jpeg, sha256, visitor)

    return router


def _check_demo(request: Request, upload: Upload, accounts: Accounts) -> None:
    """Allow a caller who is not signed in one image at a time, in the Review tab only.

    Raises:
        NotSignedIn: The upload is for another tab.
        TooManyRequests: This address, or all addresses together, exceeded the demo's rate limit.
    """
    if upload.source != "review" or upload.batch_id:
        raise NotSignedIn("Sign in to classify images outside the Review tab.")
    accounts.count_demo(client_address(request))


def _jpeg(read: Callable[[str, Caller], bytes], sha256: str, caller: Caller) -> Response:
    return Response(read(sha256, caller), media_type="image/jpeg")
