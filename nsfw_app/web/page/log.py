"""Correction log of the page: its filter and its export."""

from dataclasses import replace
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from nsfw_app.records import Label, LogFilter
from nsfw_app.review import csv_lines, exports
from nsfw_app.review.engine import Engine
from nsfw_app.rules.permissions import Caller, Permission
from nsfw_app.store.audit import AuditAction
from nsfw_app.web.auth.callers import Exporter

LOG_TYPES = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson"}


class LogQuery(BaseModel):
    """The log's filter as query parameters."""

    reviewer: str | None = None
    label: Label | None = None
    agrees: bool | None = None
    model: str | None = None
    since: str | None = None
    until: str | None = None
    undone: bool | None = None


def log_routes(engine: Engine) -> APIRouter:
    """`GET /desk/log.csv` and `/desk/log.jsonl`."""
    router = APIRouter()

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
            csv_lines.with_bom(lines) if file_format == "csv" else lines,  # opened in spreadsheets
            media_type=LOG_TYPES[file_format],
            headers={"Content-Disposition": f'attachment; filename="corrections.{file_format}"'},
        )

    return router


def visible(wanted: LogFilter, caller: Caller) -> LogFilter:
    """The filter, restricted for blind review: a reviewer sees no decision before their own."""
    return replace(wanted, blind_to=caller.name) if caller.may(Permission.REVIEW) else wanted
