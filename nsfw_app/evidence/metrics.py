"""Agreement measures and confusion counts, as pure functions.

- Each number comes with its count; a measure that is not defined is None.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

NO_LABEL = -1
Z_95 = 1.959963984540054  # the standard normal distribution's 97.5 % point


@dataclass(frozen=True, slots=True)
class Share:
    """A count out of a total."""

    part: int
    whole: int

    @property
    def value(self) -> float | None:
        """The share in [0, 1]; None where the total is 0."""
        return self.part / self.whole if self.whole else None


@dataclass(frozen=True, slots=True)
class Agreement:
    """Agreement between reviewers, corrected for chance.

    - `value` is 1 for full agreement, 0 for agreement by chance, and may be negative; None where it
      is not defined.
    - `same` counts pairs of decisions about one image with the same label, out of all pairs.
    - `images` is how many images they are about.
    """

    value: float | None
    same: Share
    images: int


@dataclass(frozen=True, slots=True)
class Confusion:
    """Confusion matrix of a model against reviewers; nsfw is the positive class."""

    true_positives: int
    false_positives: int
    true_negatives: int
    false_negatives: int

    @property
    def precision(self) -> Share:
        """Share of the images that the model labels nsfw that reviewers label nsfw."""
        return Share(self.true_positives, self.true_positives + self.false_positives)

    @property
    def recall(self) -> Share:
        """Share of the images that reviewers label nsfw that the model labels nsfw."""
        return Share(self.true_positives, self.true_positives + self.false_negatives)


def confusion(labels: NDArray[Any], scores: NDArray[Any], *, threshold: float) -> Confusion:
    """The confusion matrix of a model's scores against reviewers' labels.

    Args:
        labels: Shape (n,), True or 1 for nsfw.
        scores: Shape (n,), probabilities in [0, 1].
        threshold: In [0, 1]; a score at or above it is nsfw.

    Raises:
        ValueError: Shapes differ, or a score leaves [0, 1].
    """
    reviewed, scores = np.asarray(labels, dtype=bool), np.asarray(scores, dtype=float)
    if reviewed.shape != scores.shape or reviewed.ndim != 1:
        raise ValueError(f"Labels have shape {reviewed.shape}, scores {scores.shape}.")
    if not np.all((scores >= 0) & (scores <= 1)):
        raise ValueError("A score is not between 0 and 1.")
    model = scores >= threshold
    return Confusion(
        true_positives=int(np.sum(model & reviewed)),
        false_positives=int(np.sum(model & ~reviewed)),
        true_negatives=int(np.sum(~model & ~reviewed)),
        false_negatives=int(np.sum(~model & reviewed)),
    )


def wilson_interval(share: Share) -> tuple[float, float] | None:
    """The 95 % Wilson score interval of a share.

    Returns:
        Lower and upper bound, each in [0, 1]; None where the total is 0.

    Source: Wilson (1927), Probable inference, the law of succession, and statistical inference.
    """
    return None if share.value is None else wilson_bounds(share.value, share.whole)


def wilson_bounds(value: float, count: float) -> tuple[float, float]:
    """The interval of a share of so many observations, an effective number or a count above 0."""
    spread = Z_95**2 / count
    middle = (value + spread / 2) / (1 + spread)
    half = Z_95 * math.sqrt(value * (1 - value) / count + spread / (4 * count)) / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)


def krippendorff_alpha(labels: NDArray[Any]) -> Agreement:
    """Krippendorff's alpha of all reviewers, with missing decisions, for nominal labels.

    Args:
        labels: Shape (reviewers, images), codes from 0, `NO_LABEL` for none.

    Returns:
        Alpha, at most 1; None when no image has two labels, and when all labels of the images
        that have two are the same.

    Source: Krippendorff (2004), Content Analysis, chapter 11.
    """
    codes = np.unique(labels[labels != NO_LABEL])
    counts = (labels[:, :, np.newaxis] == codes).sum(axis=0, dtype=np.int64)
    return alpha_of_counts(counts, np.ones(len(counts), dtype=np.int64))


def alpha_of_counts(counts: NDArray[Any], images: NDArray[Any]) -> Agreement:
    """Krippendorff's alpha from a table, for any number of images.

    Args:
        counts: Shape (kinds, labels): how many reviewers gave each label to an image of a kind.
        images: Shape (kinds,): how many images there are of each kind.

    Returns:
        As `krippendorff_alpha`.
    """
    several = counts.sum(axis=1) > 1
    counts, images = counts[several], images[several]
    each = counts.sum(axis=1)
    alike = int(images @ (counts * (counts - 1)).sum(axis=1)) // 2
    same = Share(alike, int(images @ (each * (each - 1))) // 2)
    totals = images @ counts  # decisions for each label
    value = None
    if np.count_nonzero(totals) > 1:
        differ = float((images * (each**2 - (counts**2).sum(axis=1)) / (each - 1)).sum())
        by_chance = float(totals.sum() ** 2 - (totals**2).sum()) / (float(totals.sum()) - 1)
        value = 1 - differ / by_chance
    return Agreement(value, same, int(images.sum()))


def cohen_kappa(first: NDArray[Any], second: NDArray[Any]) -> Agreement:
    """Cohen's kappa of two reviewers over the images that both decided on.

    Args:
        first: Shape (images,), codes from 0, `NO_LABEL` for none.
        second: Those of the other reviewer, of the same shape.

    Returns:
        Kappa in [-1, 1]; None when they have no image in common, and when both give all of them
        the same label.

    Raises:
        ValueError: Shapes differ.

    Source: Cohen (1960), A coefficient of agreement for nominal scales.
    """
    if first.shape != second.shape:
        raise ValueError(f"The labels have shapes {first.shape} and {second.shape}.")
    both = (first != NO_LABEL) & (second != NO_LABEL)
    codes, places = np.unique([first[both], second[both]], return_inverse=True)
    table = np.zeros((len(codes), len(codes)), dtype=np.int64)
    np.add.at(table, tuple(places.reshape(2, -1)), 1)
    return kappa_of_table(table)


def kappa_of_table(table: NDArray[Any]) -> Agreement:
    """Cohen's kappa from a table of two reviewers' labels.

    Args:
        table: Shape (labels, labels): how many images the first reviewer gave the row's label and
            the second one the column's.

    Returns:
        As `cohen_kappa`.
    """
    images, same = int(table.sum()), int(np.trace(table))
    value = None
    if np.count_nonzero(table.sum(axis=0) + table.sum(axis=1)) > 1:
        by_chance = float(table.sum(axis=1) @ table.sum(axis=0)) / images
        value = (same - by_chance) / (images - by_chance)
    return Agreement(value, Share(same, images), images)
