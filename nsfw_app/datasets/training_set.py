"""Training sets: labeled images in a train and a test split, in the `imagefolder` layout.

    DIR/README.md                          the dataset card
    DIR/train/metadata.jsonl               one JSON object for each image of the split
    DIR/train/normal/<sha256>.jpg
    DIR/train/nsfw/<sha256>.jpg
    DIR/test/...

- An object has `file_name` (relative to its split), `label` (normal or nsfw), `sha256` (of the
  image that people decided about, whose preview the file may be), `group` (near duplicates share
  one), and `label_source`. `weight`, its sampling weight, is how many labeled images it
  represents; without that key it is 1. `agreed` is whether the label was the same as that of the
  model that reviewers decided about; without that key it is not known.
- A group is in one split only: a model that has seen a near duplicate of a test image is measured
  as better than it is.
"""

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nsfw_app.dataset_errors import TrainingSetError
from nsfw_app.records import SHA256_PATTERN, Label

METADATA = "metadata.jsonl"
# Of sampling weights. Within them, sums, squares and quotients are in the range of a float.
MIN_WEIGHT, MAX_WEIGHT = 1e-6, 1e9
KEYS = ("file_name", "label", "sha256", "group", "label_source")
SURROGATE = re.compile("[\ud800-\udfff]")  # what JSON can escape and UTF-8 cannot encode
# Groups of each label. With fewer, a fold of the cross-validation has hardly any, and an interval
# over the test split says nothing.
MIN_GROUPS: Mapping[str, int] = {"train": 20, "test": 10}


class Split(StrEnum):
    """Images to fit a model to, and images to measure it on."""

    TRAIN = "train"
    TEST = "test"


class LabelSource(StrEnum):
    """Where labels come from; those that were imported have names of their own.

    A correction was confirmed in Relabel. It was chosen because the model was wrong.
    """

    CORRECTION = "relabel"
    DECISION = "decision"


@dataclass(frozen=True, slots=True)
class TrainingImage:
    """An image file with its label.

    `group` is the same for near duplicates; `weight` is how many labeled images it represents.
    `agreed` is whether the label agreed with the model that was reviewed; None if not known.
    """

    path: Path
    sha256: str
    label: Label
    group: str
    label_source: str
    weight: float
    agreed: bool | None = None


@dataclass(frozen=True, slots=True)
class Labeled:
    """The images of a split, as arrays of shape (n,).

    - `groups` are numbers of groups, from 0.
    - `corrections` is whether the image was chosen because a model was wrong about it.
    - `weights` are sampling weights.
    - `agreed` is whether the label agreed with the model that was reviewed. It is true, too, where
      that is not known and is `assumed`.
    """

    paths: Sequence[Path]
    unsafe: NDArray[np.bool_]
    groups: NDArray[np.int64]
    corrections: NDArray[np.bool_]
    weights: NDArray[np.float64]
    agreed: NDArray[np.bool_]
    assumed: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """A training set that can be trained from and measured on.

    `sha256` is that of its splits, image hashes and labels.
    """

    name: str
    splits: Mapping[Split, Sequence[TrainingImage]]
    sha256: str

    def labeled(self, split: Split) -> Labeled:
        """The images of a split as arrays."""
        images = self.splits[split]
        _, groups = np.unique([image.group for image in images], return_inverse=True)
        return Labeled(
            [image.path for image in images],
            np.array([image.label is Label.NSFW for image in images]),
            groups.astype(np.int64),
            np.array([image.label_source == LabelSource.CORRECTION for image in images]),
            np.array([image.weight for image in images]),
            np.array([image.agreed is not False for image in images]),
            np.array([image.agreed is None for image in images]),
        )

    def counts(self, split: Split) -> dict[str, dict[str, int]]:
        """Number of images by label source, then by label."""
        found: dict[str, Counter[str]] = {}
        for image in self.splits[split]:
            found.setdefault(image.label_source, Counter())[image.label] += 1
        return {
            source: {label: found[source][label] for label in (Label.NORMAL, Label.NSFW)}
            for source in sorted(found)
        }


def read_training_set(directory: Path) -> TrainingSet:
    """Read and check the metadata of a training set; the images are not opened.

    Raises:
        TrainingSetError: It is not in the layout above, a file is missing, a split has too few
            images of a label, an image or a group is in both splits, or an image in two groups.
    """
    splits = {split: list(_images(directory / split)) for split in Split}
    for split, images in splits.items():
        _check_labels(split, images)
        _check_files(split, images)
    _check_leaks(splits)
    sha256 = hashlib.sha256()
    for split, images in splits.items():
        for line in sorted(f"{split} {image.sha256} {image.label}\n" for image in images):
            sha256.update(line.encode())
    return TrainingSet(directory.resolve().name, splits, sha256.hexdigest())


def _images(directory: Path) -> Iterator[TrainingImage]:
    path = directory / METADATA
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield _image(
                        directory, line, where=f"{directory.name}/{METADATA}, line {number}"
                    )
    except FileNotFoundError as error:
        raise TrainingSetError(
            f"{directory.parent} is not a training set: {directory.name}/{METADATA} is missing. "
            "A training set has the directories train and test, each with that file."
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise TrainingSetError(f"{path} cannot be read as UTF-8 text.") from error


def _image(directory: Path, line: str, *, where: str) -> TrainingImage:
    try:
        row: Any = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict):
        raise TrainingSetError(f"{where}: this is not a JSON object.")
    _check_texts(row, where=where)
    weight = row.get("weight", 1.0)
    is_number = isinstance(weight, float | int) and not isinstance(weight, bool)
    if not is_number or not MIN_WEIGHT <= weight <= MAX_WEIGHT:
        raise TrainingSetError(
            f"{where}: the weight {str(weight)[:20]} is not a number from {MIN_WEIGHT:g} to "
            f"{MAX_WEIGHT:g}."
        )
    agreed = row.get("agreed")
    if not isinstance(agreed, bool) and "agreed" in row:
        raise TrainingSetError(f"{where}: 'agreed' is {agreed!r} and not true or false.")
    name = PurePosixPath(row["file_name"])
    if name.is_absolute() or ".." in name.parts:
        raise TrainingSetError(f"{where}: '{name}' is not below the directory of its split.")
    label, source = Label(row["label"]), row["label_source"]
    sha256 = row["sha256"].lower()
    return TrainingImage(
        directory / name, sha256, label, row["group"], source, float(weight), agreed
    )


def _check_texts(row: Mapping[str, Any], *, where: str) -> None:
    for key in KEYS:
        text = row.get(key)
        if not isinstance(text, str) or not text:
            raise TrainingSetError(f"{where}: '{key}' is missing or not a text.")
        if SURROGATE.search(text):
            raise TrainingSetError(f"{where}: '{key}' has an unpaired surrogate.")
    if not re.fullmatch(SHA256_PATTERN, row["sha256"].lower()):
        raise TrainingSetError(
            f"{where}: '{row['sha256'][:80]}' is not a SHA-256 of 64 hexadecimal digits."
        )
    if row["label"] not in (Label.NORMAL, Label.NSFW):
        raise TrainingSetError(f"{where}: the label '{row['label']}' is not normal or nsfw.")


def _check_labels(split: Split, images: Sequence[TrainingImage]) -> None:
    for label in (Label.NORMAL, Label.NSFW):
        groups = len({image.group for image in images if image.label is label})
        if groups < MIN_GROUPS[split]:
            raise TrainingSetError(
                f"The {split} split has {groups} groups of images labeled {label}; at least "
                f"{MIN_GROUPS[split]} are needed, counting near duplicates once. Add images with "
                "that label."
            )


def _check_files(split: Split, images: Sequence[TrainingImage]) -> None:
    missing = [image.path.name for image in images if not os.path.isfile(image.path)]  # noqa: PTH113
    if missing:
        raise TrainingSetError(
            f"{len(missing)} of {len(images)} images of the {split} split are missing, the first "
            f"is {missing[0]}. Export the training set again."
        )


def _check_leaks(splits: Mapping[Split, Sequence[TrainingImage]]) -> None:
    first: dict[str, TrainingImage] = {}
    for image in (image for images in splits.values() for image in images):
        if first.setdefault(image.sha256, image).label is not image.label:
            raise TrainingSetError(f"Image {image.sha256} is labeled both normal and nsfw.")
    for noun, key in (("group", "group"), ("image", "sha256")):
        train, test = ({getattr(image, key) for image in images} for images in splits.values())
        if shared := sorted(train & test):
            raise TrainingSetError(
                f"{len(shared)} {noun}{'s are' if len(shared) > 1 else ' is'} in both splits, the "
                f"first is {shared[0]}. A model that was fitted to near duplicates of test images "
                "is measured as better than it is: split by group."
            )
    for image in (image for images in splits.values() for image in images):
        if (group := first[image.sha256].group) != image.group:
            raise TrainingSetError(
                f"Image {image.sha256} is in the groups {group} and {image.group}. Copies of an "
                "image count as several images then: give them one group."
            )
