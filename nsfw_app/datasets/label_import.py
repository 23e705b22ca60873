"""Finds the images that labels from elsewhere are about, and says what the labels change.

- An image is found by its hash. A file in a directory is the image of its bytes or, where only that
  one is stored, of the hash that is its name, as previews in training sets have it.
- Otherwise it is found by the whole path under which it was uploaded, or by the hash that is the
  name of the file.
- `NameMatch.LAST_PART` also takes the last part of a path, where neither several images nor several
  paths have it; and paths of files whose bytes are of no stored image.
- A hash that is not known is the label of an image that is not stored, such as one of a scan.
- What cannot be attributed to one known image with one label is counted, and not imported.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath

from nsfw_app.datasets.foreign_labels import ForeignLabel, Unread, bare_hash
from nsfw_app.models.cards import role_of
from nsfw_app.records import SHA256_PATTERN, Label, LabelRole
from nsfw_app.store import Store
from nsfw_app.store.label_imports import LabelImports

UPLOADED = re.compile(r"[0-9a-f]{8}-")  # Label Studio puts it before the names of uploaded files


class Unused(StrEnum):
    """Why a label is not imported."""

    UNLABELED = "without a label"
    INVALID_HASH = "with a SHA-256 that is not 64 hexadecimal digits"
    UNKNOWN_LABEL = "with a label that is neither normal nor nsfw"
    NO_IMAGE = "of files that are hidden or no images"
    UNLISTED = "of images that no table in the directory lists"
    OUTSIDE = "of paths that lead out of the directory, where nothing is read"
    NO_PATH = "without the path of an image, or its SHA-256"
    UNMATCHED = "of images that are not stored here"
    NAME_ONLY = "of paths of which only the last part is known (see --match-names)"
    SHARED_NAME = "of different paths with the same last part"
    AMBIGUOUS = "of a name that several images have"
    CONTRADICTORY = "of images with several labels"
    REPEATED = "that repeat another one"
    RESTRICTED = "of restricted images"


NEVER_LABELED = {Unread.NO_IMAGE: Unused.NO_IMAGE, Unread.UNLISTED: Unused.UNLISTED}


class NameMatch(StrEnum):
    """By what an image is found whose hash is not given."""

    WHOLE_PATH = "whole_path"
    LAST_PART = "last_part"


@dataclass(frozen=True, slots=True)
class MatchedLabels:
    """The label of each image, by hash, and how many labels are not used, by reason.

    Together they are as many as the labels that were read.
    """

    labels: Mapping[str, Label]
    unused: Mapping[Unused, int]


@dataclass(frozen=True, slots=True)
class ImportEffect:
    """What labels the images of an import have now.

    Attributes:
        counted: Images with an imported label.
        waiting: Those of them in the queue.
        unstored: Those of them that are not stored here.
        decided: Images on which a reviewer decided, so that the imported label does not count.
        doubted: Images without a label, because a reviewer requested a second opinion.
        differing: Images without a label, because those of several sources differ.
    """

    counted: int
    waiting: int
    unstored: int
    decided: int
    doubted: int
    differing: int


def effect_of(images: Iterable[str], store: Store) -> ImportEffect:
    """What labels images have after their labels were imported; restricted ones are left out."""
    allowed = set(images) - store.restrictions.all()
    decided = store.label_imports.decided(allowed)
    settled = {each.image_sha256 for each in store.settled_labels.all()}
    settled |= store.label_imports.unstored().keys()
    counted = (allowed - decided) & settled
    waiting = store.label_imports.waiting(counted)
    doubted = (allowed - decided - counted) & store.second_opinions.unanswered()
    return ImportEffect(
        len(counted),
        len(waiting),
        len(counted - store.label_imports.known(counted)),
        len(decided),
        len(doubted),
        len(allowed) - len(decided) - len(counted) - len(doubted),
    )


def match(
    found: Sequence[ForeignLabel],
    imports: LabelImports,
    *,
    names_by: NameMatch = NameMatch.WHOLE_PATH,
) -> MatchedLabels:
    """Attribute labels to images, stored or not."""
    unused: Counter[Unused] = Counter()
    images = _Images(found, imports, names_by)
    labels: dict[str, Counter[Label]] = {}
    for each in found:
        label = _label(each)
        if isinstance(label, Unused):
            unused[label] += 1
            continue
        image = images.of(each)
        if isinstance(image, Unused):
            unused[image] += 1
        else:
            labels.setdefault(image, Counter())[label] += 1
    kept: dict[str, Label] = {}
    for image, given in labels.items():
        if len(given) > 1:
            unused[Unused.CONTRADICTORY] += given.total()
            continue
        kept[image] = next(iter(given))
        unused[Unused.REPEATED] += given.total() - 1
    return MatchedLabels(kept, {reason: unused[reason] for reason in Unused if unused[reason]})


def _label(each: ForeignLabel) -> Label | Unused:
    if each.unread in NEVER_LABELED:
        return NEVER_LABELED[each.unread]
    if not each.label.strip():
        return Unused.UNLABELED
    role = role_of(each.label)
    if role is None:
        return Unused.UNKNOWN_LABEL
    return Label.NSFW if role is LabelRole.UNSAFE else Label.NORMAL


def _hash(text: str) -> str:
    """The hash that a text is; empty where it is none."""
    sha256 = bare_hash(text)
    return sha256 if re.fullmatch(SHA256_PATTERN, sha256) else ""


def _hash_in_name(path: str) -> str:
    """The hash that a file has as its name, without the suffix; empty where it has none."""
    return _hash(PurePosixPath(path).stem)


class _Images:
    """Finds the images of labels.

    Args:
        found: All labels of the file: a name that several of its paths have finds no image.
        imports: The images that are stored.
        names_by: Whether the last part of a path is enough.
    """

    def __init__(
        self, found: Sequence[ForeignLabel], imports: LabelImports, names_by: NameMatch
    ) -> None:
        paths = [each for each in found if not each.sha256]
        self._stored = imports.by_name() if paths else {}
        self._known = imports.known(
            {each.content_sha256 for each in paths} | {_hash_in_name(each.path) for each in paths}
        )
        self._names_by = names_by
        self._paths: dict[str, set[str]] = {}
        for each in paths:
            self._paths.setdefault(self._name(each.path), set()).add(each.path)

    def of(self, each: ForeignLabel) -> str | Unused:
        """The hash of the image of a label, stored or not, or why there is none."""
        if each.sha256:
            return _hash(each.sha256) or Unused.INVALID_HASH
        if not each.path.strip():
            return Unused.NO_PATH
        named = _hash_in_name(each.path)
        if content := each.content_sha256:
            stored = next((found for found in (content, named) if found in self._known), "")
            if stored or self._names_by is NameMatch.WHOLE_PATH:
                return stored or content
        whole = self._stored.get(each.path, set()) | ({named} & self._known)
        if whole:
            return next(iter(whole)) if len(whole) == 1 else Unused.AMBIGUOUS
        image = self._by_last_part(each.path)
        if image is Unused.UNMATCHED:
            unread = Unused.OUTSIDE if each.unread is Unread.OUTSIDE else image
            return each.content_sha256 or named or unread
        return image

    def _by_last_part(self, path: str) -> str | Unused:
        name = self._name(path)
        images = self._stored.get(name, set())
        if not images:
            return Unused.UNMATCHED
        if self._names_by is NameMatch.WHOLE_PATH:
            return Unused.NAME_ONLY
        if len(self._paths[name]) > 1:
            return Unused.SHARED_NAME
        return next(iter(images)) if len(images) == 1 else Unused.AMBIGUOUS

    def _name(self, path: str) -> str:
        """The last part of a path, without Label Studio's prefix unless an image has it."""
        last = PurePosixPath(path).name
        return last if last in self._stored else UPLOADED.sub("", last, count=1)
