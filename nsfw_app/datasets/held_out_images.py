"""Held-out images: those of a test split that neither model was fitted to, nor to a copy of them.

A trained model has the hashes of the images that it was fitted to in a file of its directory, with
those of the model that it was trained on.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from nsfw_app.dataset_errors import TrainingError, TrainingSetError
from nsfw_app.datasets.training_set import MIN_GROUPS, Split, TrainingImage, TrainingSet
from nsfw_app.evidence.replacement import MIN_RIGHT
from nsfw_app.models.cards import display_name
from nsfw_app.records import Label

FITTED = "train-images.txt"
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class FittedImages:
    """The images that a model was fitted to, by the SHA-256 of each; none where that is unknown."""

    model: str
    hashes: frozenset[str]

    @classmethod
    def read(cls, model: str, directory: Path) -> Self:
        """Those that a model's directory has.

        Raises:
            TrainingError: The file cannot be read.
        """
        try:
            lines = (directory / FITTED).read_text(encoding="ascii").split()
        except FileNotFoundError:
            lines = []
        except (OSError, UnicodeDecodeError):
            lines = [""]
        if not all(map(SHA256.fullmatch, lines)):
            raise TrainingError(
                f"{FITTED} of '{display_name(model)}' is not a list of SHA-256, so it is not known "
                "which images the model was fitted to. Delete it only if none of them is in the "
                "test split."
            )
        return cls(model, frozenset(lines))

    def write(self, directory: Path, further: Iterable[str]) -> None:
        """Write them with further ones.

        Raises:
            OSError: The file cannot be written.
        """
        lines = "".join(f"{sha256}\n" for sha256 in sorted(self.hashes.union(further)))
        (directory / FITTED).write_text(lines, encoding="ascii")

    def left_out(self, images: TrainingSet) -> tuple[TrainingSet, int]:
        """A training set without the test images in whose group one of these is, and their number.

        Raises:
            TrainingSetError: Too few groups of a label are left.
        """
        test = images.splits[Split.TEST]
        groups = {image.group for image in test if image.sha256 in self.hashes}
        new = [image for image in test if image.group not in groups]
        if groups:
            for label in (Label.NORMAL, Label.NSFW):
                count = len({image.group for image in new if image.label is label})
                if count < MIN_GROUPS[Split.TEST]:
                    raise TrainingSetError(
                        f"The test split has {count} groups of images labeled {label} that "
                        f"'{display_name(self.model)}' was not fitted to; at least "
                        f"{MIN_GROUPS[Split.TEST]} are needed. Add images with that label."
                    )
        return replace(images, splits={**images.splits, Split.TEST: new}), len(test) - len(new)


def too_few_agreements(images: TrainingSet) -> str:
    """Why a test split cannot show that a model is better, known from its labels; empty if it can.

    Agreements that the current model gets wrong count, because its scores are not known yet.
    """
    counts = {
        label: len(
            {
                image.group
                for image in images.splits[Split.TEST]
                if image.label is label and image.agreed is not False
            }
        )
        for label in (Label.NSFW, Label.NORMAL)
    }
    if min(counts.values()) >= MIN_RIGHT:
        return ""
    found = " and ".join(f"{count:,} {label}" for label, count in counts.items())
    return (
        f"The new model cannot be shown to be better: the test split has {found} groups whose "
        f"label agreed with the model that was reviewed, and {MIN_RIGHT} of each are needed. Add "
        "settled decisions with --settled, or enlarge the test split with --test-share."
    )


def check_files(images: Sequence[TrainingImage], hashes: Sequence[str], *, train: int) -> None:
    """Check that files with the same bytes are in one split, and in one group.

    Args:
        images: The images.
        hashes: The SHA-256 of the file of each.
        train: How many of them, from the first, are in the train split; all others are in test.

    Raises:
        TrainingSetError: Files with the same bytes are in both splits, or in several groups.
    """
    first = dict(zip(hashes[:train], images, strict=False))
    shared = [
        (first[sha256].path, image.path)
        for sha256, image in zip(hashes[train:], images[train:], strict=True)
        if sha256 in first
    ]
    if shared:
        one, other = shared[0]
        raise TrainingSetError(
            f"{len(shared)} file{'s' if len(shared) > 1 else ''} of the test split "
            f"{'are' if len(shared) > 1 else 'is'} in the train split, too: {other.name} is "
            f"the same as {one.name}. A model that was fitted to test images is measured as better "
            "than it is: remove them from one split."
        )
    for sha256, image in zip(hashes, images, strict=True):
        same = first.setdefault(sha256, image)
        if same.group != image.group:
            raise TrainingSetError(
                f"{image.path.name} is the same as {same.path.name}, and they are in the groups "
                f"{image.group} and {same.group}. Copies of an image count as several images then: "
                "give them one group."
            )
