"""Parity reports: how far an optimized model's scores are from the original's."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nsfw_app.records import Policy
from nsfw_app.rules.policy import judge

MAX_CHANGED = 0.005  # share of labels that may change, not counting those near the threshold
NEAR = 0.01  # distance of scores from the threshold within which a changed label is noise


@dataclass(frozen=True, slots=True)
class ParityReport:
    """The scores of two models over the same views of images.

    Shares are in [0, 1] of the views; differences are of nsfw scores. `images` counts different
    images, 0 where that was not recorded. A label that changes between two scores within `NEAR` of
    the threshold is counted in `changed_near` only: such a score decides nothing in either model.
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
        return self.views > 0 and self.changed_labels <= MAX_CHANGED

    def summary(self) -> str:
        """The report in words."""
        return (
            f"Over {self._compared}, scores differ by {self.largest_difference:.4f} at most and "
            f"{self.mean_difference:.4f} on average. At threshold {self.threshold:.2f}, "
            f"{self.changed_labels:.1%} of labels change, another {self.changed_near:.1%} between "
            f"scores within {NEAR} of the threshold, and {self.changed_actions:.1%} of actions."
        )

    @property
    def _compared(self) -> str:
        if not self.images:
            return f"{self.views} views of images"
        if self.images == self.views:
            return f"{self.images} images"
        return f"{self.views} views of {self.images} images"


NOT_COMPARED = ParityReport(0, 0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)  # which does not pass


def compare(
    original: Sequence[float], optimized: Sequence[float], policy: Policy, *, images: int = 0
) -> ParityReport:
    """Compare the scores of two models.

    Args:
        original: nsfw scores in [0, 1], one for each view.
        optimized: The other model's, in the same order.
        policy: The policy that makes labels and actions of them.
        images: How many different images the views show; 0 where that is not known.

    Raises:
        ValueError: The lengths differ, there are none, or a score is not a number in [0, 1].
    """
    one, other = _scores(original), _scores(optimized)
    if one.shape != other.shape or not one.size:
        raise ValueError(f"{one.size} and {other.size} scores cannot be compared.")
    verdicts = [(judge(a, policy), judge(b, policy)) for a, b in zip(one, other, strict=True)]
    changed = np.array([a.label is not b.label for a, b in verdicts])
    near = np.maximum(abs(one - policy.threshold), abs(other - policy.threshold)) <= NEAR
    difference = np.abs(one - other)
    return ParityReport(
        images=images,
        views=one.size,
        largest_difference=float(difference.max()),
        mean_difference=float(difference.mean()),
        changed_labels=float((changed & ~near).mean()),
        changed_near=float((changed & near).mean()),
        changed_actions=sum(a.action is not b.action for a, b in verdicts) / one.size,
        threshold=policy.threshold,
    )


def _scores(values: Sequence[float]) -> NDArray[np.float64]:
    scores = np.asarray(values, dtype=np.float64)
    if not np.all((scores >= 0) & (scores <= 1)):  # false for what is not a number
        raise ValueError("A score is not a number between 0 and 1.")
    return scores
