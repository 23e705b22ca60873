"""Labels from elsewhere, as files and directories have them.

- CSV and JSON Lines with a column `label` and one of `sha256`, `image_sha256`, `path`,
  `file_name`; a JSON export of Label Studio; a directory in the `imagefolder` layout.
- Where a table has a model's score and action, its column `label` is the model's verdict and is not
  read: `settled_label` is the human one.
- Of Label Studio the choices of one control are read: the others say something else of the image.
- An image file in a directory is known by its bytes, unless a row has its hash. All paths in a
  directory are relative to it, also those of tables below it.
- Names of directories are labels where there is no table. Otherwise image files that no table lists
  have none, as in the `imagefolder` of `datasets`.
- Of a directory nothing is read outside of it: who made it does not choose which other files of
  this machine are read. Paths in a file of labels are compared, and none is opened.
"""

import hashlib
import json
import os
import posixpath
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from enum import Enum, auto
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from nsfw_app.dataset_errors import LabelSetError
from nsfw_app.datasets.file_search import is_image_name, leads_to_directory, real_path
from nsfw_app.datasets.labels import TABLES, read_rows
from nsfw_app.imaging.formats import FIRST_BYTES, SUFFIXES, begins_as_image

HASH_COLUMNS = ("sha256", "image_sha256")
PATH_COLUMNS = ("path", "file_name")
# Of rows that `filter` and `classify` write: their `label` is the model's verdict.
VERDICT_COLUMNS = {"nsfw_score", "action"}
SETTLED_LABEL = "settled_label"
METADATA = "metadata"  # name of the tables in an image folder
LABEL_TABLES = (".jsonl", ".csv")
IMAGE = "image"  # what `training-set` and most projects of Label Studio name the image of a task
CONTROL = "label"  # and `training-set` the control with its label
LOCAL_FILES = "/data/local-files"  # of Label Studio; after `?d=` is the path of a file


class Unread(Enum):
    """Why a file in a directory is not read."""

    OUTSIDE = auto()  # its path leads out of the directory
    NO_IMAGE = auto()  # hidden, or no image by its name or its first bytes
    UNLISTED = auto()  # an image in a directory with tables, none of which lists it


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


def read_labels(path: Path, *, control: str | None = None) -> list[ForeignLabel]:
    """The labels in a file or directory, one at least.

    Args:
        path: The file or directory.
        control: The control of Label Studio whose choices are the labels; by default `label`, or
            the only one.

    Raises:
        LabelSetError: It cannot be read, is in none of the formats, or has no labels; or its labels
            are those of another control, or of one of several.
    """
    found = list(_labels(path, control))
    if not found:
        raise LabelSetError(f"{path} has no labels.")
    if all(each.unread is Unread.NO_IMAGE for each in found):
        raise LabelSetError(f"{path} has no labels: none of its files is an image.")
    if all(each.unread is Unread.UNLISTED for each in found):
        raise LabelSetError(f"{path} has no labels: its tables have no rows.")
    return found


def bare_hash(text: str) -> str:
    """A hash as it is compared: in lower case, without the name of its algorithm."""
    return text.strip().lower().removeprefix("sha256:").strip()


def _labels(path: Path, control: str | None) -> Iterator[ForeignLabel]:
    try:
        is_directory = path.is_dir()
        if not is_directory and path.suffix.lower() == ".json":
            yield from _tasks(path, control)
        elif control is not None:
            raise LabelSetError(
                f"{path} is not a JSON export of Label Studio, which --control is for."
            )
        elif is_directory:
            yield from _image_folder(path)
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
    if not _is_file(path):
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
    if not tables:
        yield from _named_by_directory(directory)
        return
    paths, hashes = set[Path](), set[str]()
    for table in tables:
        if table.suffix not in LABEL_TABLES:
            raise LabelSetError(f"{table} is not read: write it as metadata.jsonl or metadata.csv.")
        if not directory.holds(table):
            raise LabelSetError(f"{table} is not read: it is a link that leads out of {path}.")
        for where, row in read_rows(table):
            label = _from_row(row, where=where)
            if label.sha256:
                hashes.add(bare_hash(label.sha256))
            if label.path:
                paths.add(real_path(table.parent / label.path))
                label = _in_directory(label, directory, table)
            yield label
    yield from _unlisted(directory, paths, hashes)


def _unlisted(directory: _Directory, paths: Set[Path], hashes: Set[str]) -> Iterator[ForeignLabel]:
    """The images in a directory that its tables list neither by path nor by hash."""
    for path in sorted(directory.path.rglob("*")):
        relative = path.relative_to(directory.path)
        if _is_hidden(relative) or not _is_file(path):
            continue
        if real_path(path) in paths or bare_hash(path.stem) in hashes:
            continue
        label = ForeignLabel("", path=relative.as_posix(), unread=Unread.UNLISTED)
        if hashes or not path.suffix:
            read = directory.with_content(label, path)
            if read.unread is Unread.NO_IMAGE or read.content_sha256 in hashes:
                continue
        elif not is_image_name(path.name):
            continue
        yield label


def _is_file(path: Path) -> bool:
    return os.path.isfile(path)  # noqa: PTH113  # a name that is too long is no error here


def _is_hidden(relative: Path) -> bool:
    return any(part.startswith(".") for part in relative.parts)


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
            unread = replace(label, unread=Unread.NO_IMAGE)
            yield unread if _is_hidden(relative) else directory.with_content(label, path)
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


def _tasks(path: Path, control: str | None) -> Iterator[ForeignLabel]:
    try:
        tasks: Any = json.loads(path.read_text(encoding="utf-8-sig"))
    except (UnicodeDecodeError, ValueError, RecursionError):
        tasks = None
    if not isinstance(tasks, list) or not all(_is_task(task) for task in tasks):
        raise LabelSetError(
            f"{path} is not an export of Label Studio: a JSON list of tasks with `data`."
        )
    chosen = [_choices(task) for task in tasks]
    name = _control(set[str]().union(*chosen), control, path)
    for task, choices in zip(tasks, chosen, strict=True):
        data = task["data"]
        for choice in choices.get(name) or [""]:
            yield ForeignLabel(choice, _first(data, HASH_COLUMNS), _url_path(_image(data)))


def _is_task(task: object) -> bool:
    return isinstance(task, dict) and isinstance(task.get("data"), dict)


def _choices(task: Mapping[str, Any]) -> dict[str, list[str]]:
    """The choices of a task's annotations by control, each once; predictions are not labels."""
    found: dict[str, list[str]] = {}
    for annotation in _objects(task.get("annotations")):
        if not annotation.get("was_cancelled"):
            for result in _objects(annotation.get("result")):
                value = result.get("value")
                choices = value.get("choices") if isinstance(value, dict) else None
                if isinstance(choices, list):
                    given = found.setdefault(str(result.get("from_name") or ""), [])
                    given += [choice for choice in map(str, choices) if choice not in given]
    return found


def _control(names: Set[str], wanted: str | None, path: Path) -> str:
    """The control whose choices are the labels; any name where there are no choices.

    Raises:
        LabelSetError: There are others only, or several and none is named as ours.
    """
    listed = ", ".join(f"'{name}'" for name in sorted(names))
    if wanted is not None:
        if wanted not in names:
            raise LabelSetError(
                f"{path} has no choices of a control '{wanted}'. "
                f"{f'It has those of {listed}.' if names else 'It has none at all.'}"
            )
        return wanted
    if CONTROL in names or not names:
        return CONTROL
    if len(names) > 1:
        raise LabelSetError(
            f"{path} has choices of several controls: {listed}. Name the one with the labels with "
            "--control."
        )
    return next(iter(names))


def _image(data: Mapping[str, Any]) -> str:
    """The path or URL of the image of a task; empty where none or several could be it."""
    if named := _first(data, (IMAGE, *PATH_COLUMNS)):
        return named
    texts = {value for value in data.values() if isinstance(value, str) and _names_image(value)}
    return texts.pop() if len(texts) == 1 else ""


def _names_image(text: str) -> bool:
    """Whether a text is a path or URL with the suffix of an image."""
    return PurePosixPath(_url_path(text)).suffix.lower() in SUFFIXES


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
