"""The Log tab: decisions, filtered and paged in SQL, and their export."""

from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from enum import Enum
from typing import Any
from urllib.parse import urlencode

import gradio as gr

from nsfw_app.errors import FilterError
from nsfw_app.records import Decision, Label, LogFilter
from nsfw_app.review.engine import Engine
from nsfw_app.rules.permissions import Permission
from nsfw_app.ui.components import LogPage, LogTable
from nsfw_app.ui.handlers import INTERNAL, authorize, show_errors
from nsfw_app.web.page.log import visible

ROWS_PER_PAGE = 50
ANY = "Any"
AGREEMENT: dict[str, tuple[bool | None, bool | None]] = {  # agrees, undone
    ANY: (None, None),
    "Disagreements in force": (False, False),
    "Agreements in force": (True, False),
    "Undone": (None, True),
}


class Turn(Enum):
    """The page to turn to."""

    FIRST = "first"
    NEWER = "newer"
    OLDER = "older"


@dataclass(frozen=True, slots=True)
class LogPosition:
    """A page of the log: the number of its first row, and the ids of its first and last row.

    `total` is how many rows there were.
    """

    first: int = 1
    total: int = 0
    newest: int | None = None
    oldest: int | None = None


def create_log_tab(engine: Engine, tab: gr.Tab) -> None:
    """Filters, table, pages and export links; loaded whenever the tab is opened."""
    with gr.Row(elem_id="log-filters"):
        reviewer = gr.Dropdown([ANY], value=ANY, label="Reviewer", filterable=False)
        label = gr.Dropdown([ANY, *Label], value=ANY, label="Reviewer label", filterable=False)
        agreement = gr.Dropdown(list(AGREEMENT), value=ANY, label="Decision", filterable=False)
        model = gr.Dropdown([ANY], value=ANY, label="Model", filterable=False)
        since = gr.Textbox(label="From (UTC date)", placeholder="YYYY-MM-DD", max_lines=1)
        until = gr.Textbox(label="To (UTC date)", placeholder="YYYY-MM-DD", max_lines=1)
    table = LogTable("log-table")
    with gr.Row(elem_id="log-pages"):
        newer = gr.Button("Newer", size="sm", elem_classes="quiet")
        older = gr.Button("Older", size="sm", elem_classes="quiet")
    page = gr.State(LogPosition())
    filters = [reviewer, label, agreement, model, since, until]

    @show_errors
    def turn_to(
        turn: Turn, position: LogPosition, request: gr.Request, *values: str
    ) -> tuple[Any, ...]:
        wanted = visible(log_filter(*values), authorize(request, Permission.READ))
        payload, position = log_page(engine, wanted, position, turn)
        return (payload, position, *_buttons(payload))

    def first(request: gr.Request, *values: str) -> tuple[Any, ...]:
        return turn_to(Turn.FIRST, LogPosition(), request, *values)

    def go_newer(position: LogPosition, request: gr.Request, *values: str) -> tuple[Any, ...]:
        return turn_to(Turn.NEWER, position, request, *values)

    def go_older(position: LogPosition, request: gr.Request, *values: str) -> tuple[Any, ...]:
        return turn_to(Turn.OLDER, position, request, *values)

    @show_errors
    def choices(request: gr.Request) -> tuple[Any, Any]:
        reader = authorize(request, Permission.READ)
        facets = engine.log.facets(visible(LogFilter(), reader))
        return (
            gr.update(choices=[ANY, *facets.reviewers]),
            gr.update(choices=[ANY, *facets.models]),
        )

    for field in (
        since,
        until,
    ):  # the export must not differ from the fields: disable it until they are applied
        field.input(None, table, table, js="(page) => ({ ...page, stale: true })", **INTERNAL)
    outputs = [table, page, newer, older]
    tab.select(choices, outputs=[reviewer, model], **INTERNAL)
    selected = [field.change for field in (reviewer, label, agreement, model)]
    typed = [since.submit, since.blur, until.submit, until.blur]
    gr.on(
        [tab.select, *selected, *typed],
        first,
        inputs=filters,
        outputs=outputs,
        **INTERNAL,
    )
    newer.click(go_newer, inputs=[page, *filters], outputs=outputs, **INTERNAL)
    older.click(go_older, inputs=[page, *filters], outputs=outputs, **INTERNAL)


def log_filter(
    reviewer: str, label: str, agreement: str, model: str, since: str, until: str
) -> LogFilter:
    """The filter that the fields describe; the last day is included.

    Raises:
        FilterError: A date is invalid.
    """
    last = _day(until)
    wanted = LogFilter(
        reviewer=_chosen(reviewer),
        label=_chosen(label),
        model=_chosen(model),
        since=first.isoformat() if (first := _day(since)) else None,
        until=_next(last).isoformat() if last else None,
    )
    agrees, undone = AGREEMENT[agreement]
    return replace(wanted, agrees=agrees, undone=undone)


def log_page(
    engine: Engine, wanted: LogFilter, position: LogPosition, turn: Turn
) -> tuple[LogPage, LogPosition]:
    """The first page of the log, or the one next to a position; and its position."""
    total, limit = engine.log.size(wanted), ROWS_PER_PAGE
    first = position.first + total - position.total  # rows are only ever added, at the top
    rows: list[Decision] = []
    if turn is Turn.OLDER:
        rows, first = engine.log.page(wanted, limit=limit, before=position.oldest), first + limit
    elif turn is Turn.NEWER:
        rows, first = engine.log.page(wanted, limit=limit, after=position.newest), first - limit
    if len(rows) < (1 if turn is Turn.OLDER else limit) or first < 1:
        rows, first = engine.log.page(wanted, limit=limit), 1
    query = urlencode(
        {k: v for k, v in asdict(wanted).items() if v is not None and k != "blind_to"}
    )
    rows_json = [asdict(row) for row in rows]
    payload = LogPage(rows=rows_json, first=first, total=total, query=query)
    if not rows:
        return payload, LogPosition()
    return payload, LogPosition(first, total, rows[0].decision_id, rows[-1].decision_id)


def _buttons(payload: LogPage) -> tuple[Any, Any]:
    last = payload["first"] + len(payload["rows"]) - 1
    return (
        gr.update(interactive=payload["first"] > 1),
        gr.update(interactive=last < payload["total"]),
    )


def _chosen(value: str) -> str | None:
    return None if value == ANY else value


def _next(day: date) -> date:
    return day if day == date.max else day + timedelta(days=1)


def _day(text: str) -> date | None:
    if not text.strip():
        return None
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise FilterError(f"'{text}' is not a date. Write it as 2026-01-31.") from None
