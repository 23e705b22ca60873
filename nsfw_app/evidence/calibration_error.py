"""The expected calibration error: mean distance of probability and share of unsafe images, by bins.

- Chance alone adds to the distance that is seen in a bin, also where every probability is right. So
  the mean of the seen distances is biased upward, and a bootstrap repeats that.
- The value corrects it: of truths whose gaps are the seen ones times a factor, it is the error of
  the one that has the seen error as its median; 0 where right probabilities often show as much.
- The interval assumes nothing of how the error is spread over the bins. With noise z of standard
  deviation s in a bin, the seen error is at most the true one plus the sum of |z|; and at least the
  true one plus a normal variable whose variance is the sum of the s squared. The bounds follow
  from the 97.5 % points of these two. They contain the truth more often than 95 % says.

Sources: Naeini, Cooper and Hauskrecht (2015), Obtaining well calibrated probabilities using
Bayesian binning, for the measure; Broecker (2012), Estimating reliability and resolution of
probability forecasts through decomposition of the empirical score, and Kumar, Liang and Ma (2019),
Verified uncertainty calibration, for its bias.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nsfw_app.evidence.metrics import Z_95

BINS = 15
DRAWS = 2000
TAIL = 0.025  # of a 95 % interval, at each end
TOLERANCE = 1e-4  # of the factor
SEED = 0  # the same images give the same interval
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CalibrationError:
    """An error, in [0, 1], with its 95 % interval, which contains it."""

    value: float
    lower: float
    upper: float


def calibration_error(
    probabilities: NDArray[Any], unsafe: NDArray[np.bool_], weights: NDArray[Any]
) -> CalibrationError:
    """The error without the part that chance adds, with its interval; arguments as `seen_error`."""
    bins = _Bins(probabilities, unsafe, weights)
    seen = float(np.abs(bins.gaps).sum())
    deviations = bins.deviations
    noise = np.random.default_rng(SEED).standard_normal((DRAWS, BINS)) * deviations

    def median(factor: float) -> float:
        return float(np.median(np.abs(factor * bins.gaps + noise).sum(axis=1)))

    low, high = 0.0, float(median(0.0) < seen)  # chance adds: no factor is above 1
    while high - low > TOLERANCE:
        middle = (low + high) / 2
        low, high = (low, middle) if median(middle) >= seen else (middle, high)
    value = high * seen
    by_chance = float(np.quantile(np.abs(noise).sum(axis=1), 1 - TAIL))
    upper = min(1.0, seen + Z_95 * float(np.sqrt((deviations**2).sum())))
    return CalibrationError(value, min(value, max(0.0, seen - by_chance)), max(value, upper))


def seen_error(
    probabilities: NDArray[Any], unsafe: NDArray[np.bool_], weights: NDArray[Any]
) -> float:
    """The error as it is seen, which is biased upward.

    Args:
        probabilities: Shape (n,), in [0, 1].
        unsafe: Shape (n,).
        weights: Shape (n,); each of `BINS` bins has the same sum of weights.
    """
    return float(np.abs(_Bins(probabilities, unsafe, weights).gaps).sum())


class _Bins:
    """Weighted gaps between mean probability and share of unsafe images, as parts of the error.

    `deviations` are the standard deviations of `gaps` by chance: the larger one of probabilities as
    they are and of probabilities moved by the seen gap.
    """

    def __init__(
        self, probabilities: NDArray[Any], unsafe: NDArray[np.bool_], weights: NDArray[Any]
    ) -> None:
        order = np.argsort(probabilities, kind="stable")
        probabilities, weights = probabilities[order], weights[order] / weights.sum()
        bins = np.minimum(((weights.cumsum() - weights / 2) * BINS).astype(int), BINS - 1)

        def binned(values: Floats) -> Floats:
            return np.bincount(bins, values, minlength=BINS).astype(np.float64)

        self.gaps = binned(weights * (probabilities - unsafe[order]))
        means = self.gaps / np.maximum(binned(weights), 1e-300)
        moved = np.clip(probabilities - means[bins], 0.0, 1.0)
        variances = [binned(weights**2 * p * (1 - p)) for p in (probabilities, moved)]
        self.deviations = np.sqrt(np.maximum(*variances))
