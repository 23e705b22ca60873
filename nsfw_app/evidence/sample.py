"""The sample that estimates and guarantees are computed from: scores, probabilities and labels.

- An image is drawn for review with a known probability, by a rule that does not know its label.
- Decisions about images that were not drawn, because people chose them, are not labels here.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

UNSAFE, SAFE, NOT_REVIEWED = 1, 0, -1


@dataclass(frozen=True, eq=False)
class Sample:
    """Images that arrived, in order of arrival; every array has the shape (n,).

    Args:
        scores: Nsfw scores, in [0, 1].
        probabilities: Probability with which each image is put before people, in (0, 1].
        labels: 1 nsfw, 0 normal, -1 not reviewed.
        unsettled: Whether an image was drawn and has no settled label, because no reviewer has
            decided yet, or they are unsure or differ. Its label is then -1. None where it is not
            known which images were drawn: only those with a probability of 1 then surely were.

    - After creation `unsettled` is an array: images with a probability of 1 and no label are in it.
    - `draws_known` says whether the other images without a label are known not to be drawn.

    Raises:
        ValueError: Shapes differ, or a value leaves its range.
    """

    scores: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    labels: NDArray[np.int8]
    unsettled: NDArray[np.bool_] = None  # type: ignore[assignment]  # an array after creation
    draws_known: bool = field(init=False)

    def __post_init__(self) -> None:
        """Convert the arrays and check them."""
        count = np.size(self.scores)
        unsettled = np.zeros(count, bool) if self.unsettled is None else self.unsettled
        arrays: dict[str, NDArray[Any]] = {
            "scores": np.asarray(self.scores, np.float64),
            "probabilities": np.asarray(self.probabilities, np.float64),
            "labels": np.asarray(self.labels),
            "unsettled": np.asarray(unsettled, bool),
        }
        for name, values in arrays.items():
            if values.shape != (count,):
                raise ValueError(f"`{name}` has shape {values.shape}, expected ({count},).")
        _check(arrays["scores"], (arrays["scores"] >= 0) & (arrays["scores"] <= 1), "a score")
        drawn = arrays["probabilities"]
        _check(drawn, (drawn > 0) & (drawn <= 1), "a probability of review")
        _check(arrays["labels"], np.isin(arrays["labels"], (UNSAFE, SAFE, NOT_REVIEWED)), "a label")
        if np.any(arrays["unsettled"] & (arrays["labels"] != NOT_REVIEWED)):
            raise ValueError("An image has a label and is not settled.")
        arrays["labels"] = arrays["labels"].astype(np.int8)
        # What is drawn with certainty and has no label waits for one, whether or not that is said.
        arrays["unsettled"] = arrays["unsettled"] | ((drawn == 1) & (arrays["labels"] < SAFE))
        object.__setattr__(self, "draws_known", self.unsettled is not None)
        for name, values in arrays.items():
            object.__setattr__(self, name, values)

    def __len__(self) -> int:
        """The number of images that arrived."""
        return len(self.scores)

    @property
    def reviewed(self) -> NDArray[np.bool_]:
        """Shape (n,): whether an image has a label."""
        return np.asarray(self.labels != NOT_REVIEWED)

    @property
    def reviews(self) -> int:
        """The number of images with a label."""
        return int(np.count_nonzero(self.reviewed))

    @property
    def open_draws(self) -> int:
        """The number of images that were drawn and have no label."""
        return int(np.count_nonzero(self.unsettled))

    def subset(self, chosen: NDArray[Any]) -> "Sample":
        """The images that an index or mask of shape (n,) chooses, in their order."""
        return Sample(
            self.scores[chosen],
            self.probabilities[chosen],
            self.labels[chosen],
            self.unsettled[chosen] if self.draws_known else None,  # type: ignore[arg-type]
        )


def _check(values: NDArray[Any], valid: NDArray[np.bool_], what: str) -> None:
    if not np.all(valid):
        raise ValueError(f"{values[~valid][0]} is not {what}.")
