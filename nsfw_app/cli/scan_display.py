"""Progress of a scan on standard error: a bar on a terminal, else a line of JSON each minute."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

if TYPE_CHECKING:  # it imports no pyarrow, but its package is needed by a scan only
    from nsfw_app.datasets.scan_progress import ScanProgress

SAMPLE_S = 0.5  # between two updates of the bar
LINE_S = 60.0  # between two lines


@contextmanager
def displayed(progress: "ScanProgress") -> Iterator[None]:
    """Show the progress until the block ends, from a thread: an image may take minutes."""
    console = Console(stderr=True)
    ended = threading.Event()
    show = _bar if console.is_terminal else _lines
    thread = threading.Thread(target=show, args=(progress, ended, console), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def errors_text(errors: Mapping[str, int]) -> str:
    """Errors by kind, the most frequent first."""
    ordered = sorted(errors.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{kind} {count:,}" for kind, count in ordered)


def _lines(progress: "ScanProgress", ended: threading.Event, _: Console) -> None:
    """A line each minute, and one at the end."""
    waited_s = 0.0
    while not ended.wait(SAMPLE_S):
        progress.sample()
        waited_s += SAMPLE_S
        if waited_s >= LINE_S:
            typer.echo(json.dumps(progress.json()), err=True)
            waited_s = 0
    typer.echo(json.dumps(progress.json()), err=True)


def _bar(progress: "ScanProgress", ended: threading.Event, console: Console) -> None:
    columns = (TextColumn("{task.description}", markup=False), BarColumn(bar_width=20))
    with Progress(*columns, console=console, redirect_stdout=False) as bar:
        task = bar.add_task("Listing...", total=1)
        is_over = False
        while not is_over:
            is_over = ended.wait(SAMPLE_S)
            progress.sample()
            share = progress.share
            bar.update(task, completed=share or 0, description=_description(progress))


def _description(progress: "ScanProgress") -> str:
    parts = [f"{progress.images:,} images", f"{progress.images_per_s:.1f}/s"]
    if progress.share is not None:
        parts.append(f"{progress.share:.1%}")
    if progress.seconds_left is not None:
        parts.append(f"{timedelta(seconds=round(progress.seconds_left))} left")
    if progress.errors:
        parts.append(f"errors: {errors_text(progress.errors)}")
    return "  ".join(parts)
