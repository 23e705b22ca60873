"""Parity reports: how the scores of an optimized model differ from the original's."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nsfw_app.records import Policy
from nsfw_app.rules.policy import judge

MAX_CHANGED = 0.005  # share of labels that may change, not counting those near the threshold
NEAR = 0.01  # label changes between scores this close to the threshold are ignored
EPSILON = 1e-9  # rounding errors of floats


@dataclass(frozen=True, slots=True)
class ParityReport:
    """The scores of two models compared over the same views.

    A view is an image, or a mirrored or cropped version of one.

    - Shares are in [0, 1] of the views; differences are of nsfw scores.
    - `images` counts different images, 0 where that was not recorded.
    - A label that changes between two scores that are both within `NEAR` of the threshold counts
      in `changed_near` only: at such a score neither model is certain.
    """

    images: int
    views: int
    largest_difference: float
    mean_difference: float
    changed_labels: float
    changed_near: float
    changed_actions: float
    threshold: float

    @property
    def passed(self) -> bool:
        """Whether so few labels changed that the optimized model may replace the original."""
        return self.views > 0 and self.changed_count <= self.max_changed_count

    @property
    def changed_count(self) -> int:
        """Labels that changed, not counting those near the threshold."""
        return round(self.changed_labels * self.views)

    @property
    def max_changed_count(self) -> int:
        """Labels that may change in a report that passes."""
        return int(MAX_CHANGED * self.views + EPSILON)

    def summary(self) -> str:
        """Two sentences with every figure of the report; shares are given as counts."""
        near, actions = (
            round(share * self.views) for share in (self.changed_near, self.changed_actions)
        )
        return (
            f"Over {self._compared}, scores differ by at most "
            f"{_rounded_up(self.largest_difference):.4f} and by {self.mean_difference:.4f} on "
            f"average. At threshold {self.threshold:g}, {self.changed_count} of {self.views} "
            f"labels change (at most {self.max_changed_count} may), another {near} between scores "
            f"within {NEAR} of the threshold, and {actions} of {self.views} actions."
        )

    @property
    def _compared(self) -> str:
        if not self.images:
            return f"{self.views} views of images"
        if self.images == self.views:
            return f"{self.images} images"
        return f"{self.views} views of {self.images} images"


NOT_COMPARED = ParityReport(0, 0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)  # does not pass


def compare(
    original: Sequence[float], optimized: Sequence[float], policy: Policy, *, images: int = 0
) -> ParityReport:
    """Compare the scores of an optimized model with those of the original.

    Args:
        original: The original model's nsfw scores in [0, 1], one for each view.
        optimized: The optimized model's scores of the same views, in the same order.
        policy: Computes labels and actions from scores.
        images: How many different images the views show; 0 where that is not known.

    Raises:
        ValueError: The lengths differ, there are none, or a score is not a number in [0, 1].
    """
    before, after = _scores(original), _scores(optimized)
    if before.shape != after.shape or not before.size:
        raise ValueError(f"{before.size} and {after.size} scores cannot be compared.")
    verdicts = [(judge(a, policy), judge(b, policy)) for a, b in zip(before, after, strict=True)]
    changed = np.array([a.label is not b.label for a, b in verdicts])
    near = np.maximum(abs(before - policy.threshold), abs(after - policy.threshold)) <= NEAR
    difference = np.abs(before - after)
    return ParityReport(
        images=images,
        views=before.size,
        largest_difference=float(difference.max()),
        mean_difference=float(difference.mean()),
        changed_labels=float((changed & ~near).mean()),
        changed_near=float((changed & near).mean()),
        changed_actions=sum(a.action is not b.action for a, b in verdicts) / before.size,
        threshold=policy.threshold,
    )


def _scores(values: Sequence[float]) -> NDArray[np.float64]:
    scores = np.asarray(values, dtype=np.float64)
    if not np.all((scores >= 0) & (scores <= 1)):  # false for NaN, too
        raise ValueError("A score is not a number between 0 and 1.")
    return scores


def _rounded_up(difference: float) -> float:
    """A difference with four decimals that is not below the exact one."""
    return math.ceil(difference * 1e4 - EPSILON) / 1e4
