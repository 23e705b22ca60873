"""Agreement between reviewers, and of a model with them: counts first, then what follows. Pure.

What always holds: a number comes with the count behind it, and where a measure is not defined
there is None and never a number. The libraries are imported by the functions that use them,
because they take a second to load and the page does not wait for that.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

NO_ANSWER = -1
Z_95 = 1.959963984540054  # the standard normal distribution's 97.5 % point


@dataclass(frozen=True, slots=True)
class Share:
    """How many of how many."""

    part: int
    whole: int

    @property
    def value(self) -> float | None:
        """The share in [0, 1], or None of nothing."""
        return self.part / self.whole if self.whole else None


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far reviewers agree beyond chance.

    `value` is 1 for full agreement, 0 for what chance would give, and may fall below; it is None
    where it is not defined. `same` counts the pairs of answers to one image that are alike, of all
    such pairs. `images` is how many images they are about.
    """

    value: float | None
    same: Share
    images: int


@dataclass(frozen=True, slots=True)
class Confusion:
    """Images by what people call them and what the model calls them; nsfw is the positive."""

    true_positives: int
    false_positives: int
    true_negatives: int
    false_negatives: int

    @property
    def precision(self) -> Share:
        """Of what the model calls nsfw, what people call nsfw too."""
        return Share(self.true_positives, self.true_positives + self.false_positives)

    @property
    def recall(self) -> Share:
        """Of what people call nsfw, what the model calls nsfw too."""
        return Share(self.true_positives, self.true_positives + self.false_negatives)


def confusion(labels: NDArray[Any], scores: NDArray[Any], *, threshold: float) -> Confusion:
    """Counts of a model's labels against people's.

    Args:
        labels: Shape (n,), True or 1 where people say nsfw.
        scores: Shape (n,), probabilities in [0, 1].
        threshold: In [0, 1]; a score that reaches it counts as nsfw.

    Raises:
        ValueError: Shapes differ, or a score leaves [0, 1].
    """
    people, scores = np.asarray(labels, dtype=bool), np.asarray(scores, dtype=float)
    if people.shape != scores.shape or people.ndim != 1:
        raise ValueError(f"Labels have shape {people.shape}, scores {scores.shape}.")
    if not np.all((scores >= 0) & (scores <= 1)):
        raise ValueError("A score is not between 0 and 1.")
    model = scores >= threshold
    return Confusion(
        true_positives=int(np.sum(model & people)),
        false_positives=int(np.sum(model & ~people)),
        true_negatives=int(np.sum(~model & ~people)),
        false_negatives=int(np.sum(~model & people)),
    )


def wilson_interval(share: Share) -> tuple[float, float] | None:
    """Where the true share lies, with a confidence of 95 %.

    Returns:
        Lower and upper end, each in [0, 1]; None when nothing was counted.

    Source: Wilson (1927), Probable inference, the law of succession, and statistical inference.
    """
    value, count = share.value, share.whole
    if value is None:
        return None
    spread = Z_95**2 / count
    middle = (value + spread / 2) / (1 + spread)
    half = Z_95 * math.sqrt(value * (1 - value) / count + spread / (4 * count)) / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)


def krippendorff_alpha(answers: NDArray[Any]) -> Agreement:
    """Agreement of all reviewers, whoever answered whichever images; labels have no order.

    Args:
        answers: Shape (reviewers, images), a code from 0 for each label, `NO_ANSWER` for none.

    Returns:
        Alpha, at most 1. It is None when no image has two answers, and when all answers to the
        images that have two are the same label.

    Source: Krippendorff (2004), Content Analysis, chapter 11.
    """
    codes = np.unique(answers[answers != NO_ANSWER])
    counts = (answers[:, :, np.newaxis] == codes).sum(axis=0, dtype=np.int64)
    shared = counts[counts.sum(axis=1) > 1]
    shared = shared[:, shared.any(axis=0)]  # a label that only lone answers use tells nothing
    each = shared.sum(axis=1)
    same = Share(int(np.sum(shared * (shared - 1)) // 2), int(np.sum(each * (each - 1)) // 2))
    value = None
    if shared.shape[1] > 1:
        import krippendorff

        value = float(krippendorff.alpha(value_counts=shared, level_of_measurement="nominal"))
    return Agreement(value, same, len(shared))


def cohen_kappa(first: NDArray[Any], second: NDArray[Any]) -> Agreement:
    """Agreement of two reviewers over the images that both answered.

    Args:
        first: Shape (images,), a code from 0 for each label, `NO_ANSWER` for none.
        second: The same of the other reviewer.

    Returns:
        Kappa in [-1, 1]. It is None when they have no image in common, and when both give all of
        them the same label.

    Raises:
        ValueError: Shapes differ.

    Source: Cohen (1960), A coefficient of agreement for nominal scales.
    """
    if first.shape != second.shape:
        raise ValueError(f"The answers have shapes {first.shape} and {second.shape}.")
    both = (first != NO_ANSWER) & (second != NO_ANSWER)
    one, other = first[both], second[both]
    images = int(both.sum())
    value = None
    if len(np.unique([one, other])) > 1:
        from sklearn.metrics import cohen_kappa_score

        value = float(cohen_kappa_score(one, other))
    return Agreement(value, Share(int(np.sum(one == other)), images), images)
