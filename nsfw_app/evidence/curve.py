"""Curves from scores to calibrated probabilities, in a form that can be stored."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

EDGE = 1e-6  # scores are moved this far from 0 and 1, where logarithms end


class Method(StrEnum):
    """How scores are turned into probabilities; `NONE` leaves them as they are."""

    NONE = "none"
    PLATT = "platt"
    BETA = "beta"
    ISOTONIC = "isotonic"


@dataclass(frozen=True, slots=True)
class Curve:
    """A function from scores to probabilities.

    Platt scaling and beta calibration have `coefficients` (a, b, c): the log odds are
    a * ln(score) - b * ln(1 - score) + c. Isotonic regression has points that are joined by lines,
    `scores` and `probabilities`, both rising. `NONE` has neither.
    """

    method: Method
    coefficients: tuple[float, ...] = ()
    scores: tuple[float, ...] = ()
    probabilities: tuple[float, ...] = ()

    def __call__(self, scores: NDArray[Any]) -> NDArray[np.float64]:
        """Shape (n,): the probabilities of scores of shape (n,), both in [0, 1]."""
        if self.method is Method.NONE:
            return np.asarray(scores, np.float64)
        if self.method is Method.ISOTONIC:
            return np.asarray(np.interp(scores, self.scores, self.probabilities))
        from scipy.special import expit  # slow to import

        a, b, c = self.coefficients
        return np.asarray(expit(logs(scores) @ np.array([a, b]) + c))


def logs(scores: NDArray[Any]) -> NDArray[np.float64]:
    """Shape (n, 2): ln(score) and -ln(1 - score)."""
    clipped = np.clip(scores, EDGE, 1 - EDGE)
    return np.stack([np.log(clipped), -np.log1p(-clipped)], axis=-1)
