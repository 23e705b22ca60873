"""How far a faster network's scores are from the original's, and whether that is near enough."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from nsfw_app.policy import judge
from nsfw_app.records import Policy

MAX_CHANGED = 0.005  # of the labels; more and a network is not used unless somebody insists


@dataclass(frozen=True, slots=True)
class Report:
    """Two networks over the same images. Shares are in [0, 1]; differences are of nsfw scores."""

    images: int
    largest_difference: float
    mean_difference: float
    changed_labels: float
    changed_actions: float
    threshold: float
    review_from: float
    review_to: float

    @property
    def passed(self) -> bool:
        """Whether so few labels changed that the faster one may take the other's place."""
        return self.images > 0 and self.changed_labels <= MAX_CHANGED

    def to_json(self) -> dict[str, Any]:
        """The report for a file."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """The report that `to_json` wrote."""
        return cls(**values)

    def sentence(self) -> str:
        """The report in words."""
        return (
            f"Over {self.images} photographs scores differ by {self.largest_difference:.4f} at "
            f"most and {self.mean_difference:.4f} on average; {self.changed_labels:.1%} of labels "
            f"and {self.changed_actions:.1%} of actions change at threshold {self.threshold:.2f}."
        )


NOT_COMPARED = Report(0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)  # which does not pass


def compare(original: Sequence[float], faster: Sequence[float], policy: Policy) -> Report:
    """Set two networks' scores beside each other.

    Args:
        original: nsfw scores in [0, 1], one for each image.
        faster: The other network's, in the same order.
        policy: The policy that makes labels and actions of them.

    Raises:
        ValueError: The lengths differ, there are none, or a score is not a number in [0, 1].
    """
    one, other = _scores(original), _scores(faster)
    if one.shape != other.shape or not one.size:
        raise ValueError(f"{one.size} and {other.size} scores cannot be compared.")
    verdicts = [(judge(a, policy), judge(b, policy)) for a, b in zip(one, other, strict=True)]
    difference = np.abs(one - other)
    return Report(
        images=one.size,
        largest_difference=float(difference.max()),
        mean_difference=float(difference.mean()),
        changed_labels=sum(a.label is not b.label for a, b in verdicts) / one.size,
        changed_actions=sum(a.action is not b.action for a, b in verdicts) / one.size,
        threshold=policy.threshold,
        review_from=policy.review_from,
        review_to=policy.review_to,
    )


def _scores(values: Sequence[float]) -> NDArray[np.float64]:
    scores = np.asarray(values, dtype=np.float64)
    if not np.all((scores >= 0) & (scores <= 1)):  # false for what is not a number
        raise ValueError("A score is not a number between 0 and 1.")
    return scores
