"""`classify`: classify files and directories, and sort the files by action."""

import json
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from nsfw_app import settings
from nsfw_app.bootstrap import open_engine, open_store
from nsfw_app.cli.action_folders import ActionFolders, Transfer
from nsfw_app.cli.progress import printable, progress_output
from nsfw_app.datasets.file_search import FileSearch, FoundFile, exists, leads_to_directory
from nsfw_app.datasets.left_out import LeftOut
from nsfw_app.errors import SortingError
from nsfw_app.records import Review
from nsfw_app.review import image_json
from nsfw_app.review.engine import Engine

EXIT_UNSORTED = 1
EXIT_UNAVAILABLE = 3


class ReviewFormat(StrEnum):
    """Output format of classified images."""

    TABLE = "table"
    CSV = "csv"
    JSONL = "jsonl"


def classify(
    paths: Annotated[list[Path], typer.Argument(help="Image files or directories.")],
    file_format: Annotated[
        ReviewFormat | None, typer.Option("--format", help="Output format.")
    ] = None,
    jsonl: Annotated[bool, typer.Option("--jsonl", help="The same as --format jsonl.")] = False,
    move_to: Annotated[
        Path | None,
        typer.Option(help="Move files into allow/, review/, block/ and unavailable/ in here."),
    ] = None,
    copy_to: Annotated[Path | None, typer.Option(help="Copy files instead.")] = None,
) -> None:
    """Classify images. Exits 3 if some could not be classified, after all the others.

    Linked directories are followed. Hidden files and files without an image extension are left out.

    Exits 1 if files could not be moved or copied; these stay in place. A named file that a previous
    run has moved to the destination is reported as already sorted.
    """
    chosen_format = _format(file_format, jsonl=jsonl)
    folders = _folders(paths, move_to, copy_to)
    search = FileSearch(excluded=folders.directory if folders else None)
    files = list(search.files(paths))
    if summary := search.left_out.summary():
        typer.echo(printable(summary), err=True)
    if folders:
        files = _unsorted(files, folders)
    chosen = settings.load()
    engine = open_engine(chosen, open_store(chosen))
    unavailable = search.left_out.counts[LeftOut.UNREADABLE]
    failures: list[str] = []
    with progress_output(len(files)) as (write, advance):
        if chosen_format is ReviewFormat.CSV:
            write(image_json.review_csv_heading())
        reviews = engine.review_files((file.path for file in files), source="command")
        for file, review in zip(files, reviews, strict=True):
            write(LINES[chosen_format](review))
            unavailable += review.problem is not None
            try:
                if folders:
                    folders.add(file, review)
            except SortingError as error:
                failures.append(printable(str(error)))
            advance()
    for message in (*_detail_messages(engine), *failures):
        typer.echo(message, err=True)
    if failures:
        raise typer.Exit(EXIT_UNSORTED)
    if unavailable:
        raise typer.Exit(EXIT_UNAVAILABLE)


def _detail_messages(engine: Engine) -> list[str]:
    """Why the detail model failed, or judges nothing; none where there is no such message."""
    message = engine.detail.status.message if engine.detail else ""
    return [printable(message)] if message else []


def _unsorted(files: list[FoundFile], folders: ActionFolders) -> list[FoundFile]:
    """The files to classify; reports each that a previous run has moved already."""
    remaining = []
    for file in files:
        if place := folders.find_sorted(file):
            typer.echo(printable(f"{file.path} is already sorted: {place}."), err=True)
        else:
            remaining.append(file)
    return remaining


def _format(given: ReviewFormat | None, *, jsonl: bool) -> ReviewFormat:
    if jsonl and given not in {None, ReviewFormat.JSONL}:
        raise typer.BadParameter(f"--jsonl and --format {given} contradict each other.")
    return ReviewFormat.JSONL if jsonl else given or ReviewFormat.TABLE


def _folders(paths: list[Path], move_to: Path | None, copy_to: Path | None) -> ActionFolders | None:
    """The folders to sort files into, if any.

    Raises:
        BadParameter: There are two destinations, one is not a directory, or one contains a path
            that was named.
    """
    directory = move_to or copy_to
    if directory is None:
        return None
    if move_to and copy_to:
        raise typer.BadParameter("Either --move-to or --copy-to, not both.")
    if exists(directory) and not leads_to_directory(directory):
        raise typer.BadParameter(f"{printable(str(directory))} is not a directory.")
    for path in paths:
        if path.resolve().is_relative_to(directory.resolve()):
            raise typer.BadParameter(
                f"{printable(str(path))} lies in the destination {printable(str(directory))}."
            )
    return ActionFolders(directory, Transfer.MOVE if move_to else Transfer.COPY)


def _json_line(review: Review) -> str:
    return json.dumps(image_json.review_json(review)) + "\n"


def _text_line(review: Review) -> str:
    name, verdict = printable(review.name), review.verdict
    if review.prediction is None:
        message = printable(review.problem.message) if review.problem else ""
        return f"{verdict.action:<12}{'-':<8}{'-':<7}  {name}  {message}\n"
    score = f"{review.prediction.nsfw_score:.3f}"
    codes = ", ".join(warning.code for warning in review.warnings)
    warnings = f"  (warnings: {codes})" if codes else ""
    return f"{verdict.action:<12}{verdict.label:<8}{score:<7}  {name}{warnings}\n"


LINES: Mapping[ReviewFormat, Callable[[Review], str]] = {
    ReviewFormat.TABLE: _text_line,
    ReviewFormat.CSV: image_json.review_csv,
    ReviewFormat.JSONL: _json_line,
}
