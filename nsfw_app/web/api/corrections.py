"""`GET /v1/corrections`: export of the correction log, for retraining the model."""

from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from fastapi.responses import StreamingResponse

from nsfw_app.errors import RequestError
from nsfw_app.evidence.calibrations import CalibrationBook
from nsfw_app.records import Label, LogFilter
from nsfw_app.review import csv_lines
from nsfw_app.review.engine import Engine
from nsfw_app.review.exports import LOG_FORMATS, LogFormat
from nsfw_app.review.left_out import left_out_header, omission_sentence
from nsfw_app.rules.permissions import Caller, Permission
from nsfw_app.store.audit import AuditAction
from nsfw_app.web.auth.callers import needs
from nsfw_app.web.http.errors import responses
from nsfw_app.web.page.log import left_out, visible


def correction_routes(engine: Engine, calibrations: CalibrationBook) -> APIRouter:
    """`GET /corrections`."""
    router = APIRouter(tags=["export"])
    content: dict[str, Any] = {
        log_format.media_type.partition(";")[0]: {"schema": {"type": "string"}}
        for log_format in LogFormat
    }

    @router.get(
        "/corrections",
        response_class=StreamingResponse,
        responses={200: {"content": content}, **responses(400, 401, 403, 422, 429)},
    )
    def corrections(
        caller: Annotated[Caller, Depends(needs(Permission.EXPORT))],
        format: Annotated[LogFormat, Query()] = LogFormat.JSONL,  # noqa: A002  # the query's name
        everything: Annotated[
            bool, Query(alias="all", description="Include agreements and undone decisions.")
        ] = False,
        since: Annotated[
            str | None, Query(description="Earliest time of a decision, ISO 8601 in UTC.")
        ] = None,
        label: Annotated[Label | None, Query(description="The reviewer's label.")] = None,
        bom: Annotated[
            bool, Query(description="Begin CSV with a byte order mark, for spreadsheets.")
        ] = False,
    ) -> StreamingResponse:
        """Export decisions, newest first: the disagreements that stand, or all."""
        if bom and format is not LogFormat.CSV:
            raise RequestError(f"bom is for format=csv, not for format={format}.")
        wanted = visible(
            LogFilter(
                agrees=None if everything else False,
                undone=None if everything else False,
                since=since,
                label=label,
            ),
            caller,
        )
        chosen = {"all": everything, "since": since, "label": label}
        engine.audit.add(caller.name, AuditAction.EXPORT, "correction log", **chosen)
        lines: Iterator[str] = LOG_FORMATS[format](
            engine.log.rows(wanted), calibrations.probability(), engine.model_categories
        )
        if bom:
            lines = csv_lines.with_bom(lines)
        omitted = omission_sentence(engine.log, wanted) if label is None else ""
        return StreamingResponse(
            lines,
            media_type=format.media_type,
            headers=left_out_header(omitted, left_out(engine, caller)),
        )

    return router
