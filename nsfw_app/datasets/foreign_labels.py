"""Labels from elsewhere, as files and directories have them.

- CSV and JSON Lines with a column `label` and one of `sha256`, `image_sha256`, `path`,
  `file_name`; a JSON export of Label Studio; a directory in the `imagefolder` layout.
- Where a table has a model's score and action, its column `label` is the model's verdict and is not
  read: `settled_label` is the human one.
- An image file in a directory is known by its bytes, unless a row has its hash. All paths in a
  directory are relative to it, also those of tables below it.
"""

import hashlib
import json
import os
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from nsfw_app.dataset_errors import LabelSetError
from nsfw_app.datasets.file_search import is_image_name
from nsfw_app.datasets.labels import TABLES, read_rows

HASH_COLUMNS = ("sha256", "image_sha256")
PATH_COLUMNS = ("path", "file_name")
# Of rows that `filter` and `classify` write: their `label` is the model's verdict.
VERDICT_COLUMNS = {"nsfw_score", "action"}
SETTLED_LABEL = "settled_label"
METADATA = "metadata"  # name of the tables in an image folder
LABEL_TABLES = (".jsonl", ".csv")
LOCAL_FILES = "/data/local-files"  # of Label Studio; after `?d=` is the path of a file


@dataclass(frozen=True, slots=True)
class ForeignLabel:
    """A label as a file has it; texts are empty where it has none.

    `sha256` is what a row says, `content_sha256` the hash of the file that is at the path.
    """

    label: str
    sha256: str = ""
    path: str = ""
    content_sha256: str = ""


def read_labels(path: Path) -> Iterator[ForeignLabel]:
    """The labels in a file or directory.

    Raises:
        LabelSetError: It cannot be read, or is in none of the formats.
    """
    try:
        if path.is_dir():
            yield from _image_folder(path)
        elif path.suffix.lower() == ".json":
            yield from _tasks(path)
        elif path.suffix.lower() in LABEL_TABLES:
            yield from (_from_row(row, where=where) for where, row in read_rows(path))
        else:
            raise LabelSetError(
                f"{path} is not a directory, and its name does not end with .csv, .jsonl or .json."
            )
    except OSError as error:
        raise LabelSetError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise LabelSetError(f"{path} cannot be read: it is not UTF-8 text.") from error


def _from_row(row: Mapping[str, str], *, where: str) -> ForeignLabel:
    """The label in a row."""
    label = _label_column(row, where=where)
    for columns in ((label,), HASH_COLUMNS + PATH_COLUMNS):
        if not any(column in row for column in columns):
            raise LabelSetError(f"{where}: the column '{' or '.join(columns)}' is missing.")
    return ForeignLabel(row[label], _first(row, HASH_COLUMNS), _first(row, PATH_COLUMNS))


def _label_column(row: Mapping[str, str], *, where: str) -> str:
    """The column with the human label, which is not `label` where a model's score is."""
    if not VERDICT_COLUMNS.issubset(row):
        return "label"
    if SETTLED_LABEL not in row:
        raise LabelSetError(
            f"{where}: the labels are a model's: there are columns nsfw_score and action. Write "
            f"human labels into a column '{SETTLED_LABEL}'; it may be empty."
        )
    return SETTLED_LABEL


def _content_sha256(path: Path) -> str:
    """The hash of an image file; empty where there is none."""
    if path.name.startswith(".") or not is_image_name(path.name):
        return ""
    if not os.path.isfile(path):  # noqa: PTH113  # a name that is too long is no error here
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _first(row: Mapping[str, Any], columns: Sequence[str]) -> str:
    """The text in the first of the columns that is not blank."""
    texts = (str(row.get(column) or "") for column in columns)
    return next((text for text in texts if text.strip()), "")


def _image_folder(directory: Path) -> Iterator[ForeignLabel]:
    found = sorted(directory.rglob(f"{METADATA}.*"))
    tables = [path for path in found if path.suffix in TABLES]
    for table in tables:
        if table.suffix not in LABEL_TABLES:
            raise LabelSetError(f"{table} is not read: write it as metadata.jsonl or metadata.csv.")
        for where, row in read_rows(table):
            label = _from_row(row, where=where)
            yield _in_directory(label, directory, table) if label.path else label
    if not tables:
        for path in sorted(directory.rglob("*")):
            relative = path.relative_to(directory)
            if path.is_file() and len(relative.parts) > 1:
                yield ForeignLabel(
                    path.parent.name,
                    path=relative.as_posix(),
                    content_sha256=_content_sha256(path),
                )


def _in_directory(label: ForeignLabel, directory: Path, table: Path) -> ForeignLabel:
    """A label whose path is relative to a table, with that relative to the directory."""
    below = table.parent.relative_to(directory).as_posix()
    path = posixpath.normpath(posixpath.join(below, label.path))
    content = "" if label.sha256 else _content_sha256(table.parent / label.path)
    return replace(label, path=path, content_sha256=content)


def _tasks(path: Path) -> Iterator[ForeignLabel]:
    try:
        tasks: Any = json.loads(path.read_text(encoding="utf-8-sig"))
    except (UnicodeDecodeError, ValueError, RecursionError):
        tasks = None
    if not isinstance(tasks, list) or not all(_is_task(task) for task in tasks):
        raise LabelSetError(
            f"{path} is not an export of Label Studio: a JSON list of tasks with `data`."
        )
    for task in tasks:
        data = task["data"]
        image = _first(data, ("image", *PATH_COLUMNS))
        choices = _choices(task)
        for choice in choices or [""]:
            yield ForeignLabel(choice, _first(data, HASH_COLUMNS), _url_path(image))


def _is_task(task: object) -> bool:
    return isinstance(task, dict) and isinstance(task.get("data"), dict)


def _choices(task: Mapping[str, Any]) -> list[str]:
    """The choices of a task's annotations, each once; predictions are not labels."""
    found: dict[str, None] = {}
    for annotation in _objects(task.get("annotations")):
        if not annotation.get("was_cancelled"):
            for result in _objects(annotation.get("result")):
                value = result.get("value")
                choices = value.get("choices") if isinstance(value, dict) else None
                if isinstance(choices, list):
                    found |= dict.fromkeys(map(str, choices))
    return list(found)


def _objects(values: object) -> list[dict[str, Any]]:
    return [each for each in values if isinstance(each, dict)] if isinstance(values, list) else []


def _url_path(url: str) -> str:
    """The path in the address of an image, also where Label Studio serves it from a directory.

    A text that is no valid URL is the path.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    if parts.path.rstrip("/").endswith(LOCAL_FILES):
        return parse_qs(parts.query).get("d", [""])[0] or url
    return unquote(parts.path) or url
