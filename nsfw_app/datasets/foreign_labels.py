"""Labels from elsewhere, as files and directories have them.

- CSV and JSON Lines with a column `label` and one of `sha256`, `image_sha256`, `path`,
  `file_name`; a JSON export of Label Studio; a directory in the `imagefolder` layout.
- Where a table has a model's score and action, its column `label` is the model's verdict and is not
  read: `settled_label` is the human one.
- An image file in a directory is known by its bytes, unless a row has its hash. All paths in a
  directory are relative to it, also those of tables below it.
- Of a directory nothing is read outside of it: who made it does not choose which other files of
  this machine are read. Paths in a file of labels are compared, and none is opened.
"""

import hashlib
import json
import os
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from nsfw_app.dataset_errors import LabelSetError
from nsfw_app.datasets.file_search import is_image_name, leads_to_directory, real_path
from nsfw_app.datasets.labels import TABLES, read_rows
from nsfw_app.imaging.formats import FIRST_BYTES, begins_as_image

HASH_COLUMNS = ("sha256", "image_sha256")
PATH_COLUMNS = ("path", "file_name")
# Of rows that `filter` and `classify` write: their `label` is the model's verdict.
VERDICT_COLUMNS = {"nsfw_score", "action"}
SETTLED_LABEL = "settled_label"
METADATA = "metadata"  # name of the tables in an image folder
LABEL_TABLES = (".jsonl", ".csv")
LOCAL_FILES = "/data/local-files"  # of Label Studio; after `?d=` is the path of a file


class Unread(Enum):
    """Why a file in a directory is not read."""

    OUTSIDE = auto()  # its path leads out of the directory
    NO_IMAGE = auto()  # hidden, or no image by its name or its first bytes


@dataclass(frozen=True, slots=True)
class ForeignLabel:
    """A label as a file has it; texts are empty where it has none.

    `sha256` is what a row says, `content_sha256` the hash of the file that is at the path, or
    `unread` why there is none.
    """

    label: str
    sha256: str = ""
    path: str = ""
    content_sha256: str = ""
    unread: Unread | None = None


def read_labels(path: Path) -> list[ForeignLabel]:
    """The labels in a file or directory, one at least.

    Raises:
        LabelSetError: It cannot be read, is in none of the formats, or has no labels.
    """
    found = list(_labels(path))
    if not found:
        raise LabelSetError(f"{path} has no labels.")
    if all(each.unread is Unread.NO_IMAGE for each in found):
        raise LabelSetError(f"{path} has no labels: none of its files is an image.")
    return found


def _labels(path: Path) -> Iterator[ForeignLabel]:
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


class _Directory:
    """A directory whose images are read, and nothing outside of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.real = real_path(path)

    def holds(self, path: Path) -> bool:
        """Whether a path, with its links resolved, does not lead out of it."""
        return real_path(path).is_relative_to(self.real)

    def with_content(self, label: ForeignLabel, path: Path) -> ForeignLabel:
        """A label with the hash of the image file at a path, or why that is not read."""
        if not self.holds(path):
            return replace(label, unread=Unread.OUTSIDE)
        if sha256 := _content_sha256(path):
            return replace(label, content_sha256=sha256)
        return replace(label, unread=Unread.NO_IMAGE)


def _content_sha256(path: Path) -> str:
    """The hash of an image file; empty where there is none."""
    if path.name.startswith(".") or not is_image_name(path.name):
        return ""
    if not os.path.isfile(path):  # noqa: PTH113  # a name that is too long is no error here
        return ""
    with path.open("rb") as file:
        if not path.suffix and not begins_as_image(file.read(FIRST_BYTES)):
            return ""
        file.seek(0)
        return hashlib.file_digest(file, "sha256").hexdigest()


def _first(row: Mapping[str, Any], columns: Sequence[str]) -> str:
    """The text in the first of the columns that is not blank."""
    texts = (str(row.get(column) or "") for column in columns)
    return next((text for text in texts if text.strip()), "")


def _image_folder(path: Path) -> Iterator[ForeignLabel]:
    directory = _Directory(path)
    found = sorted(path.rglob(f"{METADATA}.*"))
    tables = [each for each in found if each.suffix in TABLES]
    for table in tables:
        if table.suffix not in LABEL_TABLES:
            raise LabelSetError(f"{table} is not read: write it as metadata.jsonl or metadata.csv.")
        if not directory.holds(table):
            raise LabelSetError(f"{table} is not read: it is a link that leads out of {path}.")
        for where, row in read_rows(table):
            label = _from_row(row, where=where)
            yield _in_directory(label, directory, table) if label.path else label
    if not tables:
        yield from _named_by_directory(directory)


def _named_by_directory(directory: _Directory) -> Iterator[ForeignLabel]:
    """The files in a directory, with the name of the one that each is in as its label.

    A linked directory is not searched.
    """
    for path in sorted(directory.path.rglob("*")):
        relative = path.relative_to(directory.path)
        parents = relative.parts[:-1]
        name = parents[-1] if parents else directory.real.name
        label = ForeignLabel(name, path=relative.as_posix())
        if path.is_file():
            is_hidden = any(part.startswith(".") for part in relative.parts)
            unread = replace(label, unread=Unread.NO_IMAGE)
            yield unread if is_hidden else directory.with_content(label, path)
        elif leads_to_directory(path) and not directory.holds(path):
            yield replace(label, label=path.name, unread=Unread.OUTSIDE)


def _in_directory(label: ForeignLabel, directory: _Directory, table: Path) -> ForeignLabel:
    """A label whose path is relative to a table, with that relative to the directory."""
    below = table.parent.relative_to(directory.path).as_posix()
    placed = replace(label, path=posixpath.normpath(posixpath.join(below, label.path)))
    if label.sha256:
        return placed
    read = directory.with_content(placed, table.parent / label.path)
    # A table says itself what is an image: without its bytes, by the path.
    return placed if read.unread is Unread.NO_IMAGE else read


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
