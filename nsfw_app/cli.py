"""The commands: `python -m nsfw_app ...`.

Results go to standard output, progress and problems to standard error, so that output can be
piped. Exit codes: 0 done, 1 an error that stopped the command, 2 wrong usage, 3 `classify` judged
all it could but not all.
"""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from nsfw_app import exports, settings
from nsfw_app.assembly import open_engine
from nsfw_app.errors import NSFWReviewError
from nsfw_app.images import SUFFIXES
from nsfw_app.records import LogFilter, Review

EXIT_UNAVAILABLE = 3

app = typer.Typer(
    help="Judge images, and export what reviewers said of them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


class ExportFormat(StrEnum):
    """How the correction log is written."""

    CSV = "csv"
    JSONL = "jsonl"


def main() -> None:
    """Run a command; an error of ours becomes a sentence and exit code 1."""
    try:
        app()
    except NSFWReviewError as error:
        typer.echo(f"Error: {error}", err=True)
        sys.exit(1)


@app.command()
def classify(
    paths: Annotated[list[Path], typer.Argument(help="Image files, and directories of them.")],
    jsonl: Annotated[bool, typer.Option("--jsonl", help="One JSON object per image.")] = False,
) -> None:
    """Judge images. Exits 3 when some could not be judged, after judging all the others."""
    show = _json_line if jsonl else _text_line
    files, skipped = _files(paths)
    if skipped:
        typer.echo(f"Skipped {skipped} files whose names are not those of images.", err=True)
    engine = open_engine(settings.load())
    unavailable = 0
    # Where the lines go to the same terminal as the bar, they must be printed above it.
    console = Console(stderr=not sys.stdout.isatty())
    progress = Progress(console=console) if console.is_terminal else None
    with progress or nullcontext():
        reviews = engine.review_files(files, source="command")
        for review in progress.track(reviews, total=len(files)) if progress else reviews:
            if progress and sys.stdout.isatty():
                console.out(show(review), highlight=False)
            else:
                typer.echo(show(review))
            unavailable += review.problem is not None
    if unavailable:
        raise typer.Exit(EXIT_UNAVAILABLE)


@app.command()
def export(
    file_format: Annotated[
        ExportFormat, typer.Option("--format", help="csv or jsonl.")
    ] = ExportFormat.CSV,
    everything: Annotated[
        bool, typer.Option("--all", help="Agreements and undone answers too.")
    ] = False,
    since: Annotated[
        datetime | None, typer.Option(help="Only answers from this date on, in UTC.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="File to write; standard output without it.")
    ] = None,
) -> None:
    """Write the correction log: the disagreements that stand, or all answers."""
    engine = open_engine(settings.load())
    wanted = LogFilter(
        agrees=None if everything else False,
        undone=None if everything else False,
        since=since.isoformat() if since else None,
    )
    lines = exports.LOG_FORMATS[file_format](engine.log.rows(wanted))
    if output is None:
        sys.stdout.writelines(lines)
        return
    try:
        with output.open("w", encoding="utf-8", newline="") as file:
            file.writelines(lines)
    except OSError as error:
        raise typer.BadParameter(f"{output} cannot be written: {error.strerror}.") from error


def _files(paths: list[Path]) -> tuple[list[Path], int]:
    """Every file named, and in directories those that may be images; how many others there are."""
    files: list[Path] = []
    skipped = 0
    for path in paths:
        for file in _tree(path) if path.is_dir() else [path]:
            if file is path or file.suffix.lower() in {*SUFFIXES, ""}:
                files.append(file)
            else:
                skipped += 1
    return files, skipped


def _tree(directory: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(directory):
        folders.sort()
        yield from (Path(folder, name) for name in sorted(names) if not name.startswith("."))


def _json_line(review: Review) -> str:
    return json.dumps(exports.review_json(review))


def _text_line(review: Review) -> str:
    name = _printable(review.name)
    if review.prediction is None:
        message = _printable(review.problem.message) if review.problem else ""
        return f"{review.verdict.action:<12}{'-':<8}{'-':<7}  {name}  {message}"
    score = f"{review.prediction.nsfw_score:.3f}"
    return f"{review.verdict.action:<12}{review.verdict.label:<8}{score:<7}  {name}"


def _printable(text: str) -> str:
    """A text that can neither break a line nor command a terminal."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
