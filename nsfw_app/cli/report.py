"""`report`: the transparency report of a period."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from nsfw_app.cli.evidence import open_evidence
from nsfw_app.cli.operator import operator
from nsfw_app.cli.output_file import check_directory, write_file
from nsfw_app.store.audit import AuditAction


def report(
    since: Annotated[datetime, typer.Option(help="First day or time of the period, in UTC.")],
    until: Annotated[
        datetime | None,
        typer.Option(help="End of the period, itself not included; now by default."),
    ] = None,
    output: Annotated[Path | None, typer.Option(help="HTML file to write.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    names: Annotated[
        bool, typer.Option("--names", help="Name reviewers and the authors of policies.")
    ] = False,
    recall: Annotated[
        float, typer.Option(help="Target of the certificate, set before looking at numbers.")
    ] = 0.95,
) -> None:
    """Report on a period: volumes, actions, estimates, agreement, retention, versions.

    The HTML file needs nothing else, and there is no image in it. The audit log records the report.
    """
    if output is None and not as_json:
        raise typer.BadParameter("Use --output, --json or both.")
    end = until or datetime.now(UTC).replace(tzinfo=None)
    if not since < end:
        raise typer.BadParameter("--since must be before --until.")
    if not 0 < recall < 1:
        raise typer.BadParameter("--recall must be between 0 and 1, such as 0.95.")
    if output is not None:
        check_directory(output)
    # Imported late: with scikit-learn.
    from nsfw_app.evidence.report import ReportScope, TransparencyReport
    from nsfw_app.evidence.report_page import report_page

    evidence = open_evidence()
    scope = ReportScope(since, end, names, recall)
    maker = TransparencyReport(evidence.store, evidence.policies, evidence.summaries)
    found = maker.json(scope)
    details = {"since": found["since"], "until": found["until"], "names": names}
    evidence.store.audit.add(operator(), AuditAction.EXPORT, "transparency report", **details)
    if output is not None:
        write_file(output, report_page(found))
    if as_json:
        typer.echo(json.dumps(found))
