"""Labeled sets: images with a label each, from tables and from directories named by label.

- A label is a known word, such as normal, nsfw, porn or neutral; see `models.cards`.
- Every other column of a table is kept, so that measures can be taken by group.
"""

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nsfw_app.errors import LabelSetError
from nsfw_app.models.cards import role_of
from nsfw_app.records import LabelRole

PATH, LABEL, FOLDER = "path", "label", "folder"
TABLES = (".csv", ".jsonl")


@dataclass(frozen=True, slots=True)
class LabeledImage:
    """An image file and its label; `columns` are texts by which images can be grouped."""

    path: Path
    unsafe: bool
    columns: Mapping[str, str] = field(default_factory=dict)


def is_table(path: Path) -> bool:
    """Whether a file is named as a table of labels."""
    return path.suffix.lower() in TABLES


def read_table(path: Path) -> list[LabeledImage]:
    """The images of a table with the columns `path` and `label`.

    Paths are relative to the directory of the table.

    Raises:
        LabelSetError: It cannot be read, a column is missing, or a label is not known.
    """
    read = _csv_rows if path.suffix.lower() == ".csv" else _jsonl_rows
    images = []
    try:
        for line, row in read(path):
            where = f"{path}, line {line}"
            for column in (PATH, LABEL):
                if not row.get(column):
                    raise LabelSetError(f"{where}: the column '{column}' is missing or empty.")
            unsafe = parse_label(row[LABEL], where=where)
            images.append(LabeledImage(path.parent / row[PATH], unsafe, row))
    except OSError as error:
        raise LabelSetError(f"{path} cannot be read: {error.strerror}.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise LabelSetError(f"{path} cannot be read: it is not UTF-8 text of its kind.") from error
    return images


def labeled_by_folder(path: Path, relative: Path, root: Path) -> LabeledImage | None:
    """An image in a directory that is named by its label; None where none is.

    Args:
        path: The file.
        relative: Its path below the directory that was named.
        root: That directory, whose own name counts where it has no directory with a label.
    """
    folders = relative.parts[:-1]
    for name in (*folders[:1], root.resolve().name):
        role = role_of(name)
        if role is not None:
            columns = {PATH: str(path), LABEL: name, FOLDER: str(relative.parent)}
            return LabeledImage(path, role is LabelRole.UNSAFE, columns)
    return None


def parse_label(text: str, *, where: str) -> bool:
    """Whether a label means unsafe.

    Raises:
        LabelSetError: It is not a known word.
    """
    role = role_of(text)
    if role is None:
        raise LabelSetError(f"{where}: the label '{text}' is not known. Use normal or nsfw.")
    return role is LabelRole.UNSAFE


def _csv_rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        for row in reader:
            yield reader.line_num, {str(k): v or "" for k, v in row.items() if k is not None}


def _jsonl_rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield number, _parsed(line, where=f"{path}, line {number}")


def _parsed(line: str, *, where: str) -> dict[str, str]:
    try:
        row: Any = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict):
        raise LabelSetError(f"{where}: this is not a JSON object.")
    return {str(k): "" if v is None else str(v) for k, v in row.items()}
