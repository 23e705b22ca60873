"""`export`: write the correction log."""

import io
import sys
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from nsfw_app import settings
from nsfw_app.bootstrap import open_policies, open_store, open_summaries
from nsfw_app.cli.operator import operator
from nsfw_app.cli.output_file import write_file
from nsfw_app.records import LogFilter
from nsfw_app.review import csv_lines
from nsfw_app.review.exports import LOG_FORMATS, LogFormat
from nsfw_app.review.left_out import omission_sentence
from nsfw_app.store.audit import AuditAction


def export(
    file_format: Annotated[
        LogFormat, typer.Option("--format", help="csv or jsonl.")
    ] = LogFormat.CSV,
    everything: Annotated[
        bool, typer.Option("--all", help="Include agreements and undone decisions.")
    ] = False,
    since: Annotated[
        datetime | None, typer.Option(help="Only decisions from this date on, in UTC.")
    ] = None,
    bom: Annotated[
        bool,
        typer.Option("--bom", help="Begin CSV with a byte order mark, for spreadsheets."),
    ] = False,
    output: Annotated[
        Path | None, typer.Option(help="File to write; standard output without it.")
    ] = None,
) -> None:
    """Write the correction log: the disagreements that stand, or all decisions."""
    if bom and file_format is not LogFormat.CSV:
        raise typer.BadParameter(f"--bom is for CSV, not for {file_format}.")
    configured = settings.load()
    store = open_store(configured)
    wanted = LogFilter(
        agrees=None if everything else False,
        undone=None if everything else False,
        since=since.isoformat() if since else None,
    )
    store.audit.add(operator(), AuditAction.EXPORT, "correction log", **_audit_details(wanted))
    calibrations = open_summaries(configured, store, open_policies(configured, store)).calibrations
    lines = LOG_FORMATS[file_format](
        store.log.rows(wanted), calibrations.probability(), store.judged_categories.of_decisions
    )
    if omitted := omission_sentence(store.log, wanted):
        hint = "" if everything else " --all includes agreements, unsure and undone decisions."
        typer.echo(f"{omitted}{hint}", err=True)
    if bom:
        lines = csv_lines.with_bom(lines)
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8")  # which the mark promises
    if output is None:
        sys.stdout.writelines(lines)
        return
    write_file(output, lines)


def _audit_details(wanted: LogFilter) -> dict[str, object]:
    return {key: value for key, value in asdict(wanted).items() if value is not None}
