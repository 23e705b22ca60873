"""Labels from elsewhere, as files and directories have them.

- CSV and JSON Lines with a column `label` and one of `sha256`, `image_sha256`, `path`,
  `file_name`; a JSON export of Label Studio; a directory in the `imagefolder` layout.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from nsfw_app.dataset_errors import LabelSetError
from nsfw_app.datasets.labels import read_rows
from nsfw_app.datasets.training_set import METADATA

HASH_COLUMNS = ("sha256", "image_sha256")
PATH_COLUMNS = ("path", "file_name")


@dataclass(frozen=True, slots=True)
class ForeignLabel:
    """A label as a file has it; texts are empty where it has none."""

    label: str
    sha256: str = ""
    path: str = ""


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
        elif path.suffix.lower() in (".csv", ".jsonl"):
            yield from (_from_row(row, where) for where, row in read_rows(path))
        else:
            raise LabelSetError(
                f"{path} is not a directory, and its name does not end with .csv, .jsonl or .json."
            )
    except OSError as error:
        raise LabelSetError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise LabelSetError(f"{path} cannot be read: it is not UTF-8 text.") from error


def _from_row(row: Mapping[str, str], where: str) -> ForeignLabel:
    for name in ("label", HASH_COLUMNS + PATH_COLUMNS):
        wanted = (name,) if isinstance(name, str) else name
        if not any(column in row for column in wanted):
            raise LabelSetError(f"{where}: the column '{' or '.join(wanted)}' is missing.")
    return ForeignLabel(row["label"], _first(row, HASH_COLUMNS), _first(row, PATH_COLUMNS))


def _first(row: Mapping[str, Any], columns: Sequence[str]) -> str:
    return next((str(row[column]) for column in columns if row.get(column)), "")


def _image_folder(directory: Path) -> Iterator[ForeignLabel]:
    tables = sorted(directory.rglob(METADATA))
    for table in tables:
        for where, row in read_rows(table):
            yield _from_row(row, where)
    if not tables:
        for path in sorted(directory.rglob("*")):
            relative = path.relative_to(directory)
            if path.is_file() and len(relative.parts) > 1:
                yield ForeignLabel(path.parent.name, path=relative.as_posix())


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
    """The choices of a task's annotations, each once; predictions are no labels."""
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
    """The path in the address of an image, also where Label Studio serves it from a directory."""
    parts = urlsplit(url)
    local = parse_qs(parts.query).get("d", [""])[0]
    return local or unquote(parts.path) or url
