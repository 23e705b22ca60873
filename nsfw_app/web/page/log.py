"""Correction log of the page: its pages, the choices of its filters, and its export.

- A reviewer sees no decision of others about an image that waits for one of their own.
- Each page and each export says how many decisions it leaves out for that.
"""

from dataclasses import asdict, replace
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from nsfw_app.decision import Decision
from nsfw_app.evidence.calibrations import CalibrationBook
from nsfw_app.records import Category, Label, LogFilter, Reason
from nsfw_app.review import csv_lines
from nsfw_app.review.engine import Engine
from nsfw_app.review.exports import LOG_FORMATS, LogFormat
from nsfw_app.review.left_out import hidden_sentence, left_out_header
from nsfw_app.rules.permissions import Caller, Permission
from nsfw_app.store.audit import AuditAction
from nsfw_app.web.auth.callers import Exporter, Reader
from nsfw_app.web.page.card_json import placeholder_url
from nsfw_app.web.parameters import RowId

ROWS_PER_PAGE = 50
MAX_SEARCH_CHARACTERS = 200


class LogParameters(BaseModel):
    """The log's filter as query parameters."""

    reviewer: str | None = None
    label: Label | None = None
    agrees: bool | None = None
    model: str | None = None
    since: str | None = None
    until: str | None = None
    undone: bool | None = None
    reason: Reason | None = None
    search: str | None = Field(None, min_length=1, max_length=MAX_SEARCH_CHARACTERS)
    sha256: str | None = None
    category: Category | None = None

    def to_filter(self, caller: Caller) -> LogFilter:
        """The filter, restricted for this caller; see `visible`.

        Raises:
            FilterError: A date or the hash is invalid.
        """
        values = {name: getattr(self, name) for name in LogParameters.model_fields}
        return visible(LogFilter(**values), caller)


class PageParameters(LogParameters):
    """A page of the log: the filter, and the id of the decision that it follows."""

    before: RowId | None = None


def log_routes(engine: Engine, calibrations: CalibrationBook) -> APIRouter:
    """`GET /desk/log`, `/desk/log/choices`, `/desk/log.csv` and `/desk/log.jsonl`."""
    router = APIRouter()

    @router.get("/log")
    def page(reader: Reader, query: Annotated[PageParameters, Query()]) -> dict[str, Any]:
        """A page, newest first.

        `total` counts all rows of the filter. It is null where the filter has a reason, category,
        search or hash: such pages say how far they were searched, in `searched_to` and
        `searched_since`; null means to the end.
        """
        wanted = query.to_filter(reader)
        found: dict[str, Any] = {"total": None, "searched_to": None, "searched_since": None}
        if query.reason or query.category or query.search or query.sha256:
            result = engine.log.search(wanted, limit=ROWS_PER_PAGE, before=query.before)
            rows, found["searched_to"] = result.rows, result.searched_to
            if result.searched_to is not None:
                found["searched_since"] = engine.log.get(result.searched_to).decided_at
        else:
            found["total"] = engine.log.size(wanted)
            rows = engine.log.page(wanted, limit=ROWS_PER_PAGE, before=query.before)
        return {
            **found,
            "rows": rows_json(engine, rows, reader),
            "left_out": left_out(engine, reader),
        }

    @router.get("/log/choices")
    def choices(reader: Reader) -> dict[str, list[str]]:
        """The reviewers and models that the log can be filtered by."""
        return asdict(engine.log.facets(visible(LogFilter(), reader)))

    @router.get("/log.{file_format}")
    def log(
        file_format: LogFormat,
        exporter: Exporter,
        query: Annotated[LogParameters, Query()],
    ) -> StreamingResponse:
        rows = engine.log.rows(query.to_filter(exporter))
        chosen = query.model_dump(exclude_none=True)
        engine.audit.add(exporter.name, AuditAction.EXPORT, "correction log", **chosen)
        lines = LOG_FORMATS[file_format](rows, calibrations.probability(), engine.model_categories)
        if file_format is LogFormat.CSV:  # opened in spreadsheets
            lines = csv_lines.with_bom(lines)
        return StreamingResponse(
            lines,
            media_type=file_format.media_type,
            headers={
                "Content-Disposition": f'attachment; filename="corrections.{file_format}"',
                **left_out_header(left_out(engine, exporter)),
            },
        )

    return router


def visible(wanted: LogFilter, caller: Caller) -> LogFilter:
    """The filter, restricted for blind review: a reviewer sees no decision before their own."""
    return replace(wanted, blind_to=blind_name(caller))


def blind_name(caller: Caller) -> str | None:
    """The name of a caller who reviews blind; None for one who does not review."""
    return caller.name if caller.may(Permission.REVIEW) else None


def left_out(engine: Engine, caller: Caller) -> str:
    """What the log leaves out for this caller, in a sentence; empty if nothing."""
    return hidden_sentence(engine.log.hidden(blind_name(caller)))


def rows_json(engine: Engine, rows: list[Decision], caller: Caller) -> list[dict[str, Any]]:
    """Rows with what the page needs to draw their images.

    - `placeholder`: null where the image was purged, or the caller may not see it.
    - `kept`: whether the caller can see a preview.
    - `own`: whether it is the caller's, who can correct it while it stands.
    - `restricted`: whether the image is shown to administrators only, of whom the caller is one and
      can lift it. False for all others.
    """
    images = {row.image_sha256 for row in rows}
    shown = {image for image in images if engine.shows(image, caller)}
    placeholders = {image: placeholder_url(engine.preview(image)) for image in shown}
    kept = {image for image in shown if engine.has_preview(image)}
    manages = caller.may(Permission.MANAGE)
    restricted = {image for image in images if manages and engine.is_restricted(image)}
    may_decide = caller.may(Permission.REVIEW)
    return [
        {
            **asdict(row),
            "sha256": row.image_sha256,
            "placeholder": placeholders.get(row.image_sha256),
            "kept": row.image_sha256 in kept,
            "own": may_decide and row.reviewer == caller.name,
            "restricted": row.image_sha256 in restricted,
        }
        for row in rows
    ]
