"""`check`: whether data, secrets, optimized models, disk, clock and snapshots are sound."""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer

from nsfw_app import settings
from nsfw_app.bootstrap import open_existing_store, open_snapshots
from nsfw_app.checks import (
    clock,
    database,
    disk,
    newest_snapshot,
    optimized_models,
    previews,
    secrets,
)
from nsfw_app.checks.finding import Finding, Severity, fault
from nsfw_app.checks.previews import Depth
from nsfw_app.errors import NSFWReviewError, StorageError, StorageErrorKind
from nsfw_app.settings import Settings

UNCHECKED = 2  # exit status

Check = Callable[[], Iterable[Finding]]


def check(
    full: Annotated[
        bool, typer.Option("--full", help="Decode every preview, which takes longer.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check database, previews, secrets, optimized models, disk, clock and newest snapshot.

    Exits with 0 without a fault (warnings are printed), 1 with one, 2 if it could not check.
    """
    findings: list[Finding] = []
    unchecked: dict[str, str] = {}
    names: list[str] = []
    try:
        checks = _checks(settings.load(), Depth.PIXELS if full else Depth.ENDS)
    except StorageError as error:
        if error.reason is not StorageErrorKind.CORRUPT:
            raise _Unchecked(error) from error
        checks = {}
        names, findings = [database.NAME], [fault(database.NAME, str(error))]
    except NSFWReviewError as error:
        raise _Unchecked(error) from error
    for name, run in checks.items():
        names.append(name)
        try:
            findings += run()
        except (NSFWReviewError, OSError) as error:
            unchecked[name] = str(error)
    faults = [finding for finding in findings if finding.severity is Severity.FAULT]
    if as_json:
        rows = [asdict(finding) for finding in findings]
        typer.echo(json.dumps({"checks": names, "findings": rows, "unchecked": unchecked}))
    else:
        for finding in findings:
            typer.echo(f"{finding.severity}, {finding.check}: {finding.message}", err=True)
        for name, reason in unchecked.items():
            typer.echo(f"not checked, {name}: {reason}", err=True)
        if not faults and not unchecked:
            typer.echo(f"No fault found in {', '.join(names)}.")
    if faults or unchecked:
        raise typer.Exit(1 if faults else UNCHECKED)


class _Unchecked(typer.Exit):
    """Ends the command, after the sentence of an error."""

    def __init__(self, error: NSFWReviewError) -> None:
        typer.echo(f"Error: {error}", err=True)
        super().__init__(UNCHECKED)


def _checks(chosen: Settings, depth: Depth) -> dict[str, Check]:
    """The checks that this installation needs, by name.

    Raises:
        NSFWReviewError: The store cannot be opened.
    """
    store, snapshots = open_existing_store(chosen), open_snapshots(chosen)
    checks: dict[str, Check] = {
        database.NAME: lambda: database.check_database(store, chosen.database),
        previews.NAME: lambda: previews.check_previews(store, depth=depth),
        secrets.NAME: lambda: secrets.check_secrets(store),
        optimized_models.NAME: lambda: optimized_models.check_optimized_models(
            chosen.artifacts_dir
        ),
        disk.NAME: lambda: disk.check_disk(chosen.database),
        clock.NAME: lambda: clock.check_clock(store, datetime.now(UTC)),
    }
    if snapshots is not None:
        checks[newest_snapshot.NAME] = lambda: newest_snapshot.check_newest_snapshot(snapshots)
    return checks
