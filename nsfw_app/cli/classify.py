"""`classify`: judge files and directories."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from nsfw_app import exports, settings
from nsfw_app.assembly import open_engine, open_store
from nsfw_app.images import SUFFIXES
from nsfw_app.records import Review

EXIT_UNAVAILABLE = 3


def classify(
    paths: Annotated[list[Path], typer.Argument(help="Image files, and directories of them.")],
    jsonl: Annotated[bool, typer.Option("--jsonl", help="One JSON object per image.")] = False,
) -> None:
    """Judge images. Exits 3 when some could not be judged, after judging all the others."""
    show = _json_line if jsonl else _text_line
    files, skipped = _files(paths)
    if skipped:
        typer.echo(f"Skipped {skipped} files whose names are not those of images.", err=True)
    chosen = settings.load()
    engine = open_engine(chosen, open_store(chosen))
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
