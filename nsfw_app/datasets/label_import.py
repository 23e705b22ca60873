"""Reads labels from elsewhere, and finds the images that they are about.

- CSV and JSON Lines with a column `label` and one of `sha256`, `image_sha256`, `path`,
  `file_name`; a JSON export of Label Studio; a directory in the `imagefolder` layout.
- An image is found by its hash, given as such or as the name of the file, or else by the whole path
  under which it was uploaded. `NameMatch.LAST_PART` also takes the last part of a path, where
  neither several images nor several paths have it.
- A hash that is not known is the label of an image that is not stored, such as one of a scan.
- What cannot be attributed to one known image with one label is counted, and not imported.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from nsfw_app.dataset_errors import LabelSetError
from nsfw_app.datasets.labels import read_rows
from nsfw_app.datasets.training_set import METADATA
from nsfw_app.models.cards import role_of
from nsfw_app.records import SHA256_PATTERN, Label, LabelRole
from nsfw_app.store import Store
from nsfw_app.store.label_imports import LabelImports

HASH_COLUMNS = ("sha256", "image_sha256")
PATH_COLUMNS = ("path", "file_name")
UPLOADED = re.compile(r"[0-9a-f]{8}-")  # Label Studio puts it before the names of uploaded files


class Unused(StrEnum):
    """Why a label is not imported."""

    UNLABELED = "without a label"
    UNKNOWN_LABEL = "with a label that is neither normal nor nsfw"
    UNMATCHED = "of images that are not stored here"
    NAME_ONLY = "of paths of which only the last part is known (see --match-names)"
    SHARED_NAME = "of different paths with the same last part"
    AMBIGUOUS = "of a name that several images have"
    CONTRADICTORY = "of images with several labels"
    RESTRICTED = "of restricted images"


class NameMatch(StrEnum):
    """By what an image is found whose hash is not given."""

    WHOLE_PATH = "whole_path"
    LAST_PART = "last_part"


@dataclass(frozen=True, slots=True)
class ForeignLabel:
    """A label as a file has it; texts are empty where it has none."""

    label: str
    sha256: str = ""
    path: str = ""


@dataclass(frozen=True, slots=True)
class Matched:
    """The label of each image, by hash, and how many labels are not used, by reason."""

    labels: Mapping[str, Label]
    unused: Mapping[Unused, int]


@dataclass(frozen=True, slots=True)
class Effect:
    """What labels the images of an import have now.

    Attributes:
        counted: Images with an imported label.
        waiting: Those of them in the queue.
        unstored: Those of them that are not stored here.
        decided: Images on which a reviewer decided, so that the imported label does not count.
        differing: Images without a label, because those of several sources differ.
    """

    counted: int
    waiting: int
    unstored: int
    decided: int
    differing: int


def effect_of(images: Iterable[str], store: Store) -> Effect:
    """What labels images have after their labels were imported; restricted ones are left out."""
    allowed = set(images) - store.restrictions.all()
    decided = store.label_imports.decided(allowed)
    settled = {each.image_sha256 for each in store.settled_labels.all()}
    settled |= store.label_imports.unstored().keys()
    counted = (allowed - decided) & settled
    waiting = store.label_imports.waiting(counted)
    return Effect(
        len(counted),
        len(waiting),
        len(counted - store.label_imports.known(counted)),
        len(decided),
        len(allowed) - len(decided) - len(counted),
    )


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


def match(
    found: Sequence[ForeignLabel],
    imports: LabelImports,
    *,
    names_by: NameMatch = NameMatch.WHOLE_PATH,
) -> Matched:
    """Attribute labels to images, stored or not."""
    unused: Counter[Unused] = Counter()
    by_name = any(not _hash(each) for each in found)
    names = _Names(found, imports.by_name() if by_name else {}, names_by)
    labels: dict[str, set[Label]] = {}
    for each in found:
        label = _label(each.label)
        if isinstance(label, Unused):
            unused[label] += 1
            continue
        image = _hash(each) or names.image(each)
        if isinstance(image, Unused):
            unused[image] += 1
        else:
            labels.setdefault(image, set()).add(label)
    kept = {image: next(iter(given)) for image, given in labels.items() if len(given) == 1}
    unused[Unused.CONTRADICTORY] = len(labels) - len(kept)
    return Matched(kept, {reason: unused[reason] for reason in Unused if unused[reason]})


def _label(text: str) -> Label | Unused:
    if not text.strip():
        return Unused.UNLABELED
    role = role_of(text)
    if role is None:
        return Unused.UNKNOWN_LABEL
    return Label.NSFW if role is LabelRole.UNSAFE else Label.NORMAL


def _hash(each: ForeignLabel) -> str:
    """The hash that a label names; empty where it names none."""
    text = each.sha256 or PurePosixPath(each.path).stem
    return text.lower() if re.fullmatch(SHA256_PATTERN, text.lower()) else ""


class _Names:
    """Finds images by the paths of a file.

    Args:
        found: All labels of the file: a name that several of its paths have finds no image.
        stored: The hashes of images by the path under which they were uploaded.
        names_by: Whether the last part of a path is enough.
    """

    def __init__(
        self, found: Sequence[ForeignLabel], stored: Mapping[str, set[str]], names_by: NameMatch
    ) -> None:
        self._stored, self._names_by = stored, names_by
        self._paths: dict[str, set[str]] = {}
        for each in found:
            if not _hash(each):
                self._paths.setdefault(self._name(each.path), set()).add(each.path)

    def image(self, each: ForeignLabel) -> str | Unused:
        """The hash of the image of a label, or why there is none."""
        name = each.path if each.path in self._stored else self._name(each.path)
        images = self._stored.get(name, set())
        if not images:
            return Unused.UNMATCHED
        if name != each.path:
            if self._names_by is NameMatch.WHOLE_PATH:
                return Unused.NAME_ONLY
            if len(self._paths[name]) > 1:
                return Unused.SHARED_NAME
        return next(iter(images)) if len(images) == 1 else Unused.AMBIGUOUS

    def _name(self, path: str) -> str:
        """The last part of a path, without Label Studio's prefix unless an image has it."""
        last = PurePosixPath(path).name
        return last if last in self._stored else UPLOADED.sub("", last, count=1)


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
