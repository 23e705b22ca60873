"""`check`: whether settings, data, secrets, models, disk, clock and snapshots are sound."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Annotated

import typer

from nsfw_app import settings
from nsfw_app.accounts import Accounts
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
from nsfw_app.checks import settings as settings_check
from nsfw_app.checks.finding import Finding, Severity, fault
from nsfw_app.checks.previews import Depth
from nsfw_app.errors import NSFWReviewError, SettingsError, StorageError, StorageErrorKind
from nsfw_app.settings import Settings
from nsfw_app.store import Store

UNCHECKED = 2  # exit status

Check = Callable[[], Iterable[Finding]]


def check(
    full: Annotated[
        bool, typer.Option("--full", help="Decode every preview, which takes longer.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check settings, database, previews, secrets, models, disk, clock and newest snapshot.

    Exits with 0 without a fault (warnings are printed), 1 with one, 2 if it could not check.
    """
    result = _Result()
    _check_all(result, Depth.PIXELS if full else Depth.ENDS)
    if as_json:
        typer.echo(json.dumps(asdict(result)))
    else:
        _print(result)
    if result.has_fault or result.unchecked:
        raise typer.Exit(1 if result.has_fault else UNCHECKED)


@dataclass
class _Result:
    """What the checks found, and why some of them could not look."""

    checks: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    unchecked: dict[str, str] = field(default_factory=dict)

    def run(self, checks: Mapping[str, Check]) -> None:
        """Run checks one after the other."""
        for name, check in checks.items():
            try:
                self.findings += check()
                self.checks.append(name)
            except (NSFWReviewError, OSError) as error:
                self.leave_out(name, error)

    def leave_out(self, name: str, error: Exception) -> None:
        """Record that a check could not look."""
        self.checks.append(name)
        self.unchecked[name] = str(error)

    @property
    def has_fault(self) -> bool:
        """Whether something is lost or damaged."""
        return any(finding.severity is Severity.FAULT for finding in self.findings)


def _print(result: _Result) -> None:
    for finding in result.findings:
        typer.echo(f"{finding.severity}, {finding.check}: {finding.message}", err=True)
    for name, reason in result.unchecked.items():
        typer.echo(f"not checked, {name}: {reason}", err=True)
    if not result.has_fault and not result.unchecked:
        typer.echo(f"No fault found in {', '.join(result.checks)}.")


def _check_all(result: _Result, depth: Depth) -> None:
    """Run the checks that this installation needs.

    Without valid settings or a database that can be opened, the others are left out.
    """
    try:
        chosen = settings.load()
    except SettingsError as error:
        result.leave_out(settings_check.NAME, error)
        return
    try:
        store = open_existing_store(chosen)
    except NSFWReviewError as error:
        if isinstance(error, StorageError) and error.reason is StorageErrorKind.CORRUPT:
            damaged = fault(database.NAME, str(error))
            result.run({database.NAME: lambda: [damaged]})
        else:
            result.leave_out(database.NAME, error)
        return
    result.run(_checks(chosen, store, depth))


def _checks(chosen: Settings, store: Store, depth: Depth) -> Mapping[str, Check]:
    """The checks, by name."""
    checks: dict[str, Check] = {
        settings_check.NAME: lambda: settings_check.check_settings(chosen, Accounts(store)),
        database.NAME: lambda: database.check_database(store, chosen.database),
        previews.NAME: lambda: previews.check_previews(store, depth=depth),
        secrets.NAME: lambda: secrets.check_secrets(store),
        optimized_models.NAME: lambda: optimized_models.check_optimized_models(
            chosen.artifacts_dir
        ),
        disk.NAME: lambda: disk.check_disk(chosen.database, chosen.snapshot_dir),
        clock.NAME: lambda: clock.check_clock(store, datetime.now(UTC)),
    }
    if chosen.snapshot_dir is not None:
        checks[newest_snapshot.NAME] = lambda: _check_snapshots(chosen)
    return checks


def _check_snapshots(chosen: Settings) -> Iterator[Finding]:
    if (snapshots := open_snapshots(chosen)) is not None:
        yield from newest_snapshot.check_newest_snapshot(snapshots)
