"""`scan`: classify the images of data sets into Parquet files, resumable."""

import os
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from nsfw_app import settings
from nsfw_app.bootstrap import image_limits, open_policies, open_store
from nsfw_app.cli.output_file import check_local
from nsfw_app.cli.progress import printable
from nsfw_app.cli.scan_display import displayed, errors_text
from nsfw_app.cli.scan_model import opened_model
from nsfw_app.records import Policy, utc

if TYPE_CHECKING:
    from nsfw_app.datasets.scan_progress import ScanProgress
    from nsfw_app.datasets.scan_record import ScanRecord

EXIT_UNAVAILABLE = 3
EXIT_INTERRUPTED = 128 + signal.SIGINT
STOPPING = "\nFinishing the images in flight. Press Ctrl+C again to stop at once.\n"


def scan(
    sources: Annotated[
        list[str], typer.Argument(help="Directories, archives, tables, lists or URLs of images.")
    ],
    output: Annotated[
        Path, typer.Option(help="Directory of the results; the same again continues the scan.")
    ],
    retry_errors: Annotated[
        bool, typer.Option("--retry-errors", help="Scan images with an error again.")
    ] = False,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Read all files again, and scan those that have changed."),
    ] = False,
    delete_gone: Annotated[
        bool,
        typer.Option(
            "--delete-gone",
            help="Delete rows even where most images of a source are gone, or it is not named.",
        ),
    ] = False,
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Scan on a Ray cluster: HOST:PORT, ray://HOST:PORT, auto, or local.",
        ),
    ] = None,
) -> None:
    """Classify the images of data sets into Parquet files; the same command again continues.

    Nothing is written into the database. Exits 3 if a model could not judge some images, after all
    the others, and 130 if it was interrupted.
    """
    from nsfw_app.datasets.cluster_arguments import check_arguments
    from nsfw_app.datasets.file_search import exists, leads_to_directory
    from nsfw_app.datasets.left_out import LeftOutFiles
    from nsfw_app.datasets.scan import Redo  # with pyarrow; slow to import
    from nsfw_app.datasets.scan_directory import (
        Emptied,
        ScanDirectory,
        check_unused,
        named_sources,
    )
    from nsfw_app.datasets.scan_record import ScanRecord
    from nsfw_app.datasets.units import check_outside, find_units

    check_local(output)
    if exists(output) and not leads_to_directory(output):
        raise typer.BadParameter(f"{printable(str(output))} is not a directory.")
    if cluster is not None:
        check_arguments(sources)
    # Before the model is loaded: can the output be used, do the sources exist?
    check_outside(sources, output)
    check_unused(output)
    find_units(sources, left_out=LeftOutFiles())
    named = named_sources(sources)
    chosen = settings.load()
    policies = open_policies(chosen, open_store(chosen))
    redo = {Redo.ERRORS: retry_errors, Redo.CHANGED: verify, Redo.LOST: delete_gone}
    with opened_model(cluster, chosen, policies) as model:
        if model.message:
            typer.echo(model.message, err=True)
        wanted = ScanRecord(
            sources=tuple(named),
            model=model.identity,
            roles=model.roles,
            policy=policies.of(model.identity.model),
            limits=image_limits(chosen),
            started_at=_now(),
            detail=model.detail,
        )
        emptied = Emptied.DELETE if delete_gone else Emptied.KEEP
        with ScanDirectory.opened(output, wanted, emptied=emptied) as directory:
            record = directory.record
            _print_policy(record.policy, wanted.policy)
            in_order = [named[source] for source in directory.sources]  # in the order of the scan
            scanner = model.scanner(
                directory,
                in_order,
                frozenset(each for each, is_wanted in redo.items() if is_wanted),
            )
            keys = set()
            _find_total(scanner.progress, in_order, output)
            units = find_units(in_order, left_out=scanner.left_out, excluded=output)
            with displayed(scanner.progress), _interrupts(scanner.stop):
                for part in scanner.scan(units):
                    keys.add(part.key)
            if summary := scanner.left_out.summary():
                typer.echo(printable(summary), err=True)
            if scanner.is_stopped:
                _print_continuation()
                raise typer.Exit(EXIT_INTERRUPTED)
            gone = directory.finish(
                keys,
                left_out=scanner.left_out,
                unopened=scanner.unopened,
                finished_at=_now(),
            )
            record = directory.record
    _print_summary(record, scanner.progress, output, gone.sentences())
    if record.counts.errors:
        raise typer.Exit(EXIT_UNAVAILABLE)


def _print_policy(policy: Policy, in_force: Policy) -> None:
    """Say that another policy is in force now than in the scan."""
    texts = [_policy_text(each) for each in (policy, in_force)]
    if texts[0] != texts[1]:
        typer.echo(
            f"The scan keeps its policy ({texts[0]}), so that all rows are consistent; in force "
            f"now: {texts[1]}. Scores do not depend on it.",
            err=True,
        )


def _policy_text(policy: Policy) -> str:
    band = f"review band {policy.review_from:g} to {policy.review_to:g}"
    rules = [f"{r.action} from {r.category} {r.threshold:g}" for r in policy.category_rules]
    return ", ".join([f"threshold {policy.threshold:g}", band, *rules])


def _print_continuation() -> None:
    arguments = list(map(_without_credentials, sys.argv[1:]))
    command = shlex.join(["nsfw-review", *arguments])
    typer.echo(f"Interrupted. Continue with: {printable(command)}", err=True)
    if arguments != sys.argv[1:]:
        typer.echo("Its URLs are shown without credentials: put them back.", err=True)


def _without_credentials(argument: str) -> str:
    from nsfw_app.datasets.locations import is_url
    from nsfw_app.datasets.named_members import uri_of

    mark = "@" if argument.startswith("@") else ""  # of a list
    location = argument.removeprefix(mark)
    return f"{mark}{uri_of(location)}" if is_url(location) else argument


def _print_summary(
    record: "ScanRecord", progress: "ScanProgress", output: Path, gone: Sequence[str]
) -> None:
    counts, errors = record.counts, sum(record.counts.errors.values())
    sentences = [
        f"{counts.images:,} images in {output}: {counts.images - errors:,} classified, "
        f"{errors:,} with an error{f' ({errors_text(counts.errors)})' if errors else ''}.",
        f"This run scanned {progress.scanned:,}, {progress.duplicates:,} of them duplicates.",
    ]
    if progress.changed:
        sentences.append(f"{progress.changed:,} had changed.")
    typer.echo(printable(" ".join([*sentences, *gone])))


def _now() -> str:
    return utc(datetime.now(UTC).isoformat())


def _find_total(progress: "ScanProgress", sources: Sequence[str], output: Path) -> None:
    """Find the total size of the sources in a thread, for the share that is done.

    The scan itself lists them as it goes on, so that it starts at once.
    """
    from nsfw_app.datasets.left_out import LeftOutFiles
    from nsfw_app.datasets.scan_progress import total_bytes
    from nsfw_app.datasets.units import find_units

    def measure() -> None:
        # The scan reports what fails; a program that is about to end starts no threads.
        with suppress(Exception):
            units = find_units(sources, left_out=LeftOutFiles(), excluded=output)
            found = total_bytes(units)
            if progress.total_bytes is None:  # else the scan is complete
                progress.total_bytes = found

    threading.Thread(target=measure, name="total", daemon=True).start()


@contextmanager
def _interrupts(stop: Callable[[], None]) -> Iterator[None]:
    """Within the block the first Ctrl+C calls `stop`, and the second ends the process at once."""
    interrupts = 0

    def handle(_: int, __: FrameType | None) -> None:
        nonlocal interrupts
        interrupts += 1
        if interrupts > 1:
            os._exit(EXIT_INTERRUPTED)  # threads that compute cannot be interrupted
        stop()
        os.write(2, STOPPING.encode())  # safe in a signal handler

    earlier = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        if not interrupts:  # else the process is about to end
            signal.signal(signal.SIGINT, earlier)
