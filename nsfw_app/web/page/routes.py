"""The routes that the page's own scripts speak to, below /desk.

Files arrive one request each, so that every one is judged, refused or stopped by itself.
"""

import base64
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi import Path as PathParameter
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, FailFast, Field

from nsfw_app.accounts import Accounts
from nsfw_app.errors import ImageError, NotSignedIn
from nsfw_app.records import (
    Decision,
    Ground,
    Label,
    LogFilter,
    NewDecision,
    Preview,
    Reason,
    Review,
    Upload,
)
from nsfw_app.review import exports
from nsfw_app.review.engine import Engine
from nsfw_app.rules.permissions import LOCAL_OWNER, Caller, Permission
from nsfw_app.settings import Settings
from nsfw_app.store.audit import AuditAction
from nsfw_app.web.auth.callers import Exporter, Reviewer, Visitor
from nsfw_app.web.http.gate import ClassifyGate
from nsfw_app.web.middleware.forwarding import client_address

MAX_NAME_CHARACTERS = 4_000
HASH = "^[0-9a-f]{64}$"
LOG_TYPES = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson"}


RowId = Annotated[int, PathParameter(ge=1, lt=1 << 63)]


class AnswerBody(BaseModel):
    """What the page sends when a reviewer answers."""

    nonce: str
    image_sha256: str = Field(pattern=HASH)
    label: Label
    threshold: float
    model: str
    revision: str
    backend: str
    reasons: Annotated[list[Reason], FailFast()] = Field([], max_length=len(Reason))
    note: str = ""
    batch_id: str = Field("", max_length=64)
    name: str = Field("", max_length=MAX_NAME_CHARACTERS)
    elapsed_ms: int | None = Field(None, ge=0, le=86_400_000)


class UndoBody(BaseModel):
    """What the page sends when a reviewer takes an answer back."""

    nonce: str = Field(min_length=1, max_length=NewDecision.MAX_NONCE_CHARACTERS)


class LogQuery(BaseModel):
    """The log's filter as it stands in a link."""

    reviewer: str | None = None
    label: Label | None = None
    agrees: bool | None = None
    model: str | None = None
    since: str | None = None
    until: str | None = None
    undone: bool | None = None


def answer_of(body: AnswerBody) -> NewDecision:
    """The answer that a request carries.

    Raises:
        DecisionError: It makes no sense.
    """
    return NewDecision(**{**body.model_dump(), "reasons": tuple(body.reasons)})


def visible(wanted: LogFilter, caller: Caller) -> LogFilter:
    """The filter, narrowed so that a reviewer is told no answer before giving their own."""
    return replace(wanted, blind_to=caller.name) if caller.may(Permission.REVIEW) else wanted


def image_routes(gate: ClassifyGate, accounts: Accounts, *, settings: Settings) -> APIRouter:
    """What is running, images in, pictures out."""
    router = APIRouter()
    engine = gate.engine

    @router.get("/status")
    def status(visitor: Visitor) -> dict[str, Any]:
        now = engine.status
        identity = now.classifier.identity if now.classifier else None
        return {
            "state": now.state,
            "wanted": now.wanted,
            "message": now.message,
            "model": asdict(identity) if identity else None,
            "policy": asdict(engine.policy),
            "reviewer": visitor.name,
            "permissions": sorted(visitor.permissions),
            "auth_action": auth_action(visitor),
            "reasons": list(Reason),
            "max_files": settings.max_files,
            "max_bytes": engine.limits.max_bytes,
            "pause_after": settings.pause_after,
            "policy_text": settings.policy_text is not None,
        }

    @router.post("/images")
    async def add_image(
        request: Request,
        visitor: Visitor,
        name: Annotated[str, Query(max_length=MAX_NAME_CHARACTERS)],
        source: Annotated[str, Query(max_length=64)],
        batch_id: Annotated[str, Query(max_length=64)] = "",
    ) -> dict[str, Any]:
        queues = visitor.may(Permission.QUEUE)
        upload = Upload(name, source, visitor.owner, batch_id, queues)
        if visitor.owner is None:
            _check_demo(request, upload, accounts)
        async with gate.slot(request):
            try:
                data = await gate.file(request, name=name)
            except ImageError as error:
                return exports.review_json(gate.record(engine.unavailable(name, error)))
            if upload.owner is None:
                review = gate.record(await gate.run(engine.try_out, data, name=name))
            else:
                review = await gate.review(data, upload)
            return await run_in_threadpool(card_json, engine, review, visitor)

    @router.post("/pictures")
    async def preview(
        request: Request,
        visitor: Visitor,
        name: Annotated[str, Query(max_length=MAX_NAME_CHARACTERS)],
        frame: Annotated[int, Query(ge=0, lt=1 << 31)] = 0,
        ground: Annotated[Ground, Query()] = Ground.WHITE,
    ) -> Response:
        if visitor.owner is None:
            accounts.count_demo(client_address(request))
        async with gate.slot(request):
            data = await gate.file(request, name=name)
            jpeg = await gate.run(
                engine.render_preview, data, name=name, frame=frame, ground=ground
            )
        return Response(jpeg, media_type="image/jpeg")

    @router.api_route("/images/{sha256}/picture", methods=["GET", "HEAD"])
    def picture(sha256: str, visitor: Visitor) -> Response:
        return _jpeg(engine.preview_jpeg, sha256, visitor)

    @router.api_route("/images/{sha256}/thumbnail", methods=["GET", "HEAD"])
    def thumbnail(sha256: str, visitor: Visitor) -> Response:
        return _jpeg(engine.thumbnail_jpeg, sha256, visitor)

    return router


def answer_routes(engine: Engine) -> APIRouter:
    """Answers in, the correction log out."""
    router = APIRouter()

    @router.post("/decisions")
    def decide(body: AnswerBody, reviewer: Reviewer) -> dict[str, Any]:
        return decision_json(engine, engine.decide(answer_of(body), reviewer))

    @router.post("/decisions/{decision_id}/undo")
    def undo(decision_id: RowId, body: UndoBody, reviewer: Reviewer) -> dict[str, Any]:
        standing = engine.undo(decision_id, reviewer=reviewer.name, nonce=body.nonce)
        return {"standing": asdict(standing) if standing else None}

    @router.get("/log.{file_format}")
    def log(
        file_format: Literal["csv", "jsonl"],
        exporter: Exporter,
        query: Annotated[LogQuery, Query()],
    ) -> StreamingResponse:
        wanted = LogFilter(**query.model_dump())
        rows = engine.log.rows(visible(wanted, exporter))
        chosen = query.model_dump(exclude_none=True)
        engine.audit.add(exporter.name, AuditAction.EXPORT, "correction log", **chosen)
        lines = exports.LOG_FORMATS[file_format](rows)
        return StreamingResponse(
            exports.with_bom(lines) if file_format == "csv" else lines,  # opened in spreadsheets
            media_type=LOG_TYPES[file_format],
            headers={"Content-Disposition": f'attachment; filename="corrections.{file_format}"'},
        )

    return router


def _check_demo(request: Request, upload: Upload, accounts: Accounts) -> None:
    """Let whoever is not signed in try one image after the other, and no more.

    Raises:
        NotSignedIn: It is for another tab than Review.
        TooManyRequests: There were too many within the minute, from this address or in all.
    """
    if upload.source != "review" or upload.batch_id:
        raise NotSignedIn("Sign in to have many images judged.")
    accounts.count_demo(client_address(request))


def auth_action(visitor: Caller) -> str | None:
    """What the page offers: `sign_in`, `sign_out`, or None on a page without users."""
    if visitor.owner is None:
        return "sign_in"
    return None if visitor.owner == LOCAL_OWNER else "sign_out"


def decision_json(engine: Engine, decision: Decision) -> dict[str, Any]:
    """An answer as it is on disk, and whether there is still a picture to show."""
    return {**asdict(decision), "kept": engine.has_preview(decision.image_sha256)}


def card_json(engine: Engine, review: Review, caller: Caller) -> dict[str, Any]:
    """A review for the page: its JSON, what to draw, and the answer given earlier.

    `kept` says whether the server has a picture to show, `incomplete` whether pixels are missing,
    and `ground` what color is behind transparent ones.
    """
    card = {**exports.review_json(review), "placeholder": None, "decision": None}
    card |= {"perceptual_hash": None, "kept": False}
    card["incomplete"] = review.image is not None and review.image.incomplete
    card["ground"] = review.prediction.ground if review.prediction else None
    if review.prediction is not None and review.preview is not None:
        card["placeholder"] = placeholder_url(review.preview)
        card["perceptual_hash"] = review.preview.perceptual_hash
        if caller.owner is not None:
            answer = engine.standing(review.prediction, caller.name)
            card["decision"] = asdict(answer) if answer else None
            card["kept"] = engine.has_preview(review.prediction.image_sha256)
    return card


def placeholder_url(preview: Preview) -> str | None:
    """What stands for an image as a data URL, unless it was deleted."""
    if not preview.placeholder:
        return None
    return "data:image/webp;base64," + base64.b64encode(preview.placeholder).decode()


def _jpeg(read: Callable[[str, Caller], bytes], sha256: str, caller: Caller) -> Response:
    return Response(read(sha256, caller), media_type="image/jpeg")
