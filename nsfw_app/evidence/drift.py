"""Drift: whether images or disagreements differ from those that the evidence is from.

- An alarm is valid under continuous watching: if nothing has changed, it is ever raised with a
  probability of at most `ALPHA`, however often one looks.
- A bettor stakes on the share of recent images below a score being higher, or lower, than it can
  have been in the reference. Its capital reaches 2 / `ALPHA` with a probability of at most
  `ALPHA` / 2 otherwise (Ville 1939); the reference's own error takes the other half.

Sources: Massart (1990), for the band around a distribution; Clopper and Pearson (1934), for the
interval of a share; Shekhar and Ramdas (2023), Sequential change detection via betting.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

ALPHA = 0.01
CUTS = 9  # scores at which the distributions are compared: the reference's deciles
STAKES = np.array([0.02, 0.05, 0.1, 0.2, 0.5])[:, np.newaxis]  # of the largest one
MOST = 500.0  # logarithm of the capital, far beyond every alarm
MIN_REFERENCE = 100  # images or reviews; with fewer nothing is compared


@dataclass(frozen=True, slots=True)
class Drift:
    """A comparison of recent images with a reference.

    - `alarm` is the index of the first recent image at which the change is shown; None for none.
    - `evidence` is the capital at the end; at 2 / `ALPHA` the alarm is raised.
    - `compared` is False where there are too few images in the reference.
    """

    alarm: int | None
    evidence: float
    reference: int
    recent: int
    compared: bool = True

    @property
    def shown(self) -> bool:
        """Whether a change is shown."""
        return self.alarm is not None

    @property
    def since_alarm(self) -> int:
        """How many recent images came after the one at which the change is shown."""
        return 0 if self.alarm is None else self.recent - self.alarm - 1


def score_drift(reference: NDArray[Any], recent: NDArray[Any]) -> Drift:
    """Compare the distribution of recent scores with that of a reference.

    Args:
        reference: Shape (m,), scores in [0, 1], in any order.
        recent: Shape (n,), scores in [0, 1], in order of arrival.
    """
    count = len(reference)
    if count < MIN_REFERENCE:
        return Drift(None, 1.0, count, len(recent), compared=False)
    cuts = np.unique(np.quantile(reference, np.arange(1, CUTS + 1) / (CUTS + 1)))
    below = np.searchsorted(np.sort(reference), cuts, side="right") / count
    margin = math.sqrt(math.log(4 / ALPHA) / (2 * count))
    paths = [
        _capital(recent <= cut, max(0.0, share - margin), min(1.0, share + margin))
        for cut, share in zip(cuts, below, strict=True)
    ]
    return _drift(np.mean(paths, axis=0), count, len(recent))


def rate_drift(reference: NDArray[Any], recent: NDArray[Any]) -> Drift:
    """Compare a rate, such as that of disagreements, with that of a reference.

    Args:
        reference: Shape (m,), whether it happened, in any order.
        recent: Shape (n,), in order of time.
    """
    count, part = len(reference), int(np.count_nonzero(reference))
    if count < MIN_REFERENCE:
        return Drift(None, 1.0, count, len(recent), compared=False)
    tail = ALPHA / 4
    lower = float(betaincinv(part, count - part + 1, tail)) if part else 0.0
    upper = float(betaincinv(part + 1, count - part, 1 - tail)) if part < count else 1.0
    path = _capital(np.asarray(recent, bool), lower, upper)
    return _drift(path, count, len(recent))


def _capital(happened: NDArray[np.bool_], lower: float, upper: float) -> NDArray[np.float64]:
    """Shape (n,): the mean capital of bets that a rate is above `upper`, or below `lower`."""
    more = np.log1p(STAKES * (happened - upper) / max(upper, 1e-9)).cumsum(axis=1)
    less = np.log1p(STAKES * (lower - happened) / max(1 - lower, 1e-9)).cumsum(axis=1)
    paths = np.minimum(np.concatenate([more, less]), MOST)
    return np.asarray(np.exp(paths).mean(axis=0))


def _drift(path: NDArray[np.float64], reference: int, recent: int) -> Drift:
    raised = np.flatnonzero(path >= 2 / ALPHA)
    return Drift(
        int(raised[0]) if len(raised) else None,
        float(path[-1]) if len(path) else 1.0,
        reference,
        recent,
    )
