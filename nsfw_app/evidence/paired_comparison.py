"""Measures of a candidate and of the current model on the same weighted images.

- Near duplicates are not independent. Intervals of AUROC and log loss are percentile bootstrap
  intervals over groups of near duplicates, the same resamples for both models; those of rates and
  McNemar's test count groups.

Sources: Efron (1979), for the bootstrap; Field and Welsh (2007), for resampling groups; McNemar
(1947), exact version; see `label_flips` for rates.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from nsfw_app.evidence.evaluation import SEED, Floats, Measured, measured
from nsfw_app.evidence.label_flips import Bools, Groups, LabelFlips, weighted_share

RESAMPLES = 1000
PRIMARY = "auroc"
EPSILON = 1e-7  # nearer to 0 or 1, a score counts as this in the log loss
Measure = Callable[[Floats], float]  # of the weights of the images


@dataclass(frozen=True, slots=True)
class PairedMeasure:
    """A measure of both models, and the candidate's minus the current one's."""

    current: Measured
    candidate: Measured
    difference: Measured


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both models on the same images.

    - `measures` has `auroc`, `log_loss`, `accuracy`, `recall` and `false_positive_rate`, the last
      three at the policy's threshold. All are weighted.
    - `only_current` and `only_candidate` count groups of near duplicates in which one model labels
      more images correctly; `p_value` is McNemar's exact one.
    """

    images: int
    unsafe: int
    groups: int
    measures: Mapping[str, PairedMeasure]
    only_current: int
    only_candidate: int
    p_value: float


def compare(current: Floats, candidate: Floats, flips: LabelFlips) -> Comparison:
    """Compare the nsfw scores of two models, shape (n,), whose labels are in `flips`."""
    changes = flips.after.astype(int) - flips.before.astype(int)
    signs = np.sign(np.bincount(flips.groups, weights=changes))
    gained, lost = int((signs > 0).sum()), int((signs < 0).sum())
    return Comparison(
        images=len(current),
        unsafe=int(flips.unsafe.sum()),
        groups=len(np.unique(flips.groups)),
        measures=_bootstrapped(current, candidate, flips) | _rates(flips),
        only_current=lost,
        only_candidate=gained,
        p_value=float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0,
    )


def _bootstrapped(
    current: Floats, candidate: Floats, flips: LabelFlips
) -> dict[str, PairedMeasure]:
    """Measures of scores, with intervals of resampled groups."""
    both = {
        name: [make(scores, flips.unsafe) for scores in (current, candidate)]
        for name, make in ((PRIMARY, _area), ("log_loss", _log_loss))
    }
    values: dict[str, list[list[float]]] = {name: [] for name in both}
    once = np.ones(len(current), np.int64)
    for times in itertools.chain([once], _resamples(flips.groups)):
        for name, measures in both.items():
            values[name].append([of(flips.weights * times) for of in measures])
    found = {}
    for name, pairs in values.items():
        (one, *ones), (other, *others) = zip(*pairs, strict=True)
        found[name] = PairedMeasure(
            measured(one, ones),
            measured(other, others),
            measured(other - one, list(np.subtract(others, ones))),
        )
    return found


def _area(scores: Floats, unsafe: Bools) -> Measure:
    """The AUROC; equal scores of both labels count half. NaN where one label has no weight."""
    _, ranks = np.unique(scores, return_inverse=True)

    def area(weights: Floats) -> float:
        above, below = (np.bincount(ranks, weights * of) for of in (unsafe, ~unsafe))
        pairs = above.sum() * below.sum()
        return float(above @ (np.cumsum(below) - below / 2) / pairs) if pairs else np.nan

    return area


def _log_loss(scores: Floats, unsafe: Bools) -> Measure:
    losses = -np.log(np.where(unsafe, scores, 1 - scores).clip(EPSILON, 1))
    return lambda weights: float(weights @ losses / weights.sum())


def _resamples(groups: Groups) -> Iterator[NDArray[np.int64]]:
    """How often each image is drawn: as many groups as there are, drawn with replacement.

    Always the same.
    """
    _, numbers = np.unique(groups, return_inverse=True)
    count = int(numbers.max()) + 1
    rng = np.random.default_rng(SEED)
    for _ in range(RESAMPLES):
        yield np.bincount(rng.integers(0, count, count), minlength=count)[numbers]


def _rates(flips: LabelFlips) -> dict[str, PairedMeasure]:
    unsafe = flips.of(flips.unsafe)
    accuracy, recall, specificity = (
        PairedMeasure(_rate(some, some.before), _rate(some, some.after), some.difference())
        for some in (flips, unsafe, flips.of(~flips.unsafe))
    )
    false_positives = PairedMeasure(
        _reversed(specificity.current, one=1),
        _reversed(specificity.candidate, one=1),
        _reversed(specificity.difference),
    )
    return {"accuracy": accuracy, "recall": recall, "false_positive_rate": false_positives}


def _rate(flips: LabelFlips, right: Bools) -> Measured:
    if not len(right):
        return Measured(None, None, None)
    return Measured(*weighted_share(right, flips.groups, flips.weights))


def _reversed(measure: Measured, *, one: float = 0) -> Measured:
    values = (measure.value, measure.upper, measure.lower)
    return Measured(*(None if each is None else one - each for each in values))
