"""Tables of paths: CSV with a header, and JSONL. Paths are relative to the table."""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from nsfw_app.datasets import files
from nsfw_app.datasets.csv_reader import csv_reader
from nsfw_app.datasets.entries import Entry
from nsfw_app.datasets.files import FileStatus
from nsfw_app.datasets.left_out import LeftOut, LeftOutFiles
from nsfw_app.datasets.locations import name_of, resolved
from nsfw_app.datasets.versions import versioned
from nsfw_app.errors import ImageError, ImageErrorKind
from nsfw_app.records import ImageProblem

# Usual names of the column, in the order of preference: ours, those of Hugging Face, others'.
COLUMNS = """path uri file_name filename file image image_path file_path filepath url image_url
""".split()


def entries(container: Entry, left_out: LeftOutFiles) -> Iterator[Entry]:  # noqa: ARG001
    """The images of a table, in its order; a row without a path is an entry with a problem.

    Raises:
        ImageError: It cannot be read, or has no column of paths.
    """
    lines = files.lines(container.file)
    is_csv = name_of(container.file).lower().endswith(".csv")
    return listed(_csv(lines, container) if is_csv else _jsonl(lines), container)


def listed(paths: Iterable[Any], container: Entry) -> Iterator[Entry]:
    """Entries of the files that the rows of a table name.

    Args:
        paths: Of each row the path or URL; anything but a text where it has none.
        container: The table.
    """
    return versioned(_named(path, row, container) for row, path in enumerate(paths))


def named_file(path: str, row: str, container: Entry) -> FileStatus | Entry:
    """The file that a table names; an entry with a problem where it cannot name this one.

    Args:
        path: A path or URL.
        row: The uri of its row.
        container: The table.
    """
    try:
        return FileStatus(resolved(path.strip(), table=container.file))
    except ImageError as error:
        problem = ImageProblem(error.kind, str(error))
    return Entry(row, container.file, problem=problem)


def is_left_out(container: Entry, left_out: LeftOutFiles) -> bool:
    """Whether a table of paths lies in a directory, where it describes other images; counts it."""
    if container.is_found:
        left_out.add(LeftOut.PATHS, container.uri)
    return container.is_found


def path_column(names: Iterable[str]) -> str | None:
    """The column that has the paths; None where none does."""
    known = {name.lower(): name for name in reversed(list(names))}
    return next((known[name] for name in COLUMNS if name in known), None)


def no_column(
    container: Entry, columns: Iterable[str], *, wanted: str = "Name one path or image"
) -> ImageError:
    """The error about a table in which no column is known.

    Args:
        container: The table.
        columns: Its columns, with their types where they have some.
        wanted: What a column of images is.
    """
    return ImageError(
        ImageErrorKind.UNREADABLE,
        f"{name_of(container.file)} has no column of images. {wanted}; it has: "
        f"{', '.join(columns) or 'none'}.",
    )


def _named(path: Any, row: int, container: Entry) -> FileStatus | Entry:
    uri = f"{container.uri}#{row}"
    if isinstance(path, str) and path.strip():
        return named_file(path, uri, container)
    message = f"Row {row} of {name_of(container.file)} has no path of an image."
    problem = ImageProblem(ImageErrorKind.UNREADABLE, message)
    return Entry(uri, container.file, problem=problem)


def _csv(lines: Iterator[str], container: Entry) -> Iterator[str | None]:
    try:
        reader = csv_reader(lines)
        names = reader.fieldnames or ()
        column = path_column(names)
        if column is None:
            raise no_column(container, names)
        if list(names).count(column) > 1:
            raise ImageError(
                ImageErrorKind.UNREADABLE,
                f"{name_of(container.file)} has several columns '{column}'. Rename or remove all "
                "but one.",
            )
        for row in reader:
            yield row[column]
    except csv.Error as error:
        raise ImageError(
            ImageErrorKind.UNREADABLE, f"{name_of(container.file)} is damaged: {error}."
        ) from error


def _jsonl(lines: Iterator[str]) -> Iterator[Any]:
    for line in lines:
        if line.strip():
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
            yield _path(row) if isinstance(row, Mapping) else row if isinstance(row, str) else None


def _path(row: Mapping[str, Any]) -> Any:
    column = path_column(row)
    return row[column] if column else None
