"""Measures of a model on a labeled set, with bootstrap intervals, and paired comparisons.

- Every image of the set counts once: a labeled set is taken as a sample of itself.
- Intervals are percentile bootstrap intervals over images. All measures, groups and models are
  computed from the same resamples, so that a difference of two models is paired.

Sources: Efron (1979), for the bootstrap; McNemar (1947), exact version, for two models' labels.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.metrics import average_precision_score, roc_auc_score

from nsfw_app.evidence.calibration import calibration_error

RESAMPLES = 1000
SEED = 0  # the same set gives the same intervals
Floats = NDArray[np.float64]
Measure = Callable[[Floats, NDArray[np.bool_]], float]


@dataclass(frozen=True, slots=True)
class Measured:
    """A measure with its 95 % bootstrap interval; None where the set does not define it."""

    value: float | None
    lower: float | None
    upper: float | None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Measures of one model on one set.

    `measures` has `accuracy`, `balanced_accuracy`, `auroc`, `average_precision`, `brier`, `ece`,
    and for each threshold t `recall@t` and `false_positive_rate@t`. The first two are taken at the
    first threshold.
    """

    images: int
    unsafe: int
    measures: Mapping[str, Measured]


@dataclass(frozen=True, slots=True)
class Difference:
    """Two models on the same images: the second minus the first.

    - `measures` are differences with paired bootstrap intervals.
    - `only_first` and `only_second` count images that only one of them labels correctly; `p_value`
      is McNemar's exact one for the hypothesis that both are equally accurate.
    """

    measures: Mapping[str, Measured]
    only_first: int
    only_second: int
    p_value: float


def evaluate(
    scores: NDArray[Any], unsafe: NDArray[Any], *, thresholds: Sequence[float]
) -> Evaluation:
    """Measure a model on a labeled set.

    Args:
        scores: Shape (n,), nsfw scores in [0, 1].
        unsafe: Shape (n,), whether the label is nsfw.
        thresholds: At least one, in [0, 1]; the first is that of the policy.

    Raises:
        ValueError: Shapes differ, a score leaves [0, 1], or there is no image.
    """
    scores, unsafe = _checked(scores, unsafe)
    resamples = _resamples(len(scores))
    found = {
        name: _measured(measure(scores, unsafe), [measure(scores[i], unsafe[i]) for i in resamples])
        for name, measure in _measures(thresholds).items()
    }
    return Evaluation(len(scores), int(unsafe.sum()), found)


def compare(
    first: NDArray[Any], second: NDArray[Any], unsafe: NDArray[Any], *, thresholds: Sequence[float]
) -> Difference:
    """Compare two models on the same images.

    Args:
        first: Shape (n,), nsfw scores of one model.
        second: Shape (n,), those of the other, in the same order.
        unsafe: Shape (n,), whether the label is nsfw.
        thresholds: As in `evaluate`; labels are compared at the first.

    Raises:
        ValueError: Shapes differ, a score leaves [0, 1], or there is no image.
    """
    one, unsafe = _checked(first, unsafe)
    other, _ = _checked(second, unsafe)
    resamples = _resamples(len(one))
    found = {
        name: _measured(
            measure(other, unsafe) - measure(one, unsafe),
            [measure(other[i], unsafe[i]) - measure(one[i], unsafe[i]) for i in resamples],
        )
        for name, measure in _measures(thresholds).items()
    }
    right = [(scores >= thresholds[0]) == unsafe for scores in (one, other)]
    only_first, only_second = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    differ = only_first + only_second
    p_value = float(binomtest(only_first, differ).pvalue) if differ else 1.0
    return Difference(found, only_first, only_second, p_value)


def _measures(thresholds: Sequence[float]) -> dict[str, Measure]:
    policy = thresholds[0]

    def rate(flagged: NDArray[np.bool_], of: NDArray[np.bool_]) -> float:
        return float(flagged[of].mean()) if of.any() else np.nan

    def balanced(scores: Floats, unsafe: NDArray[np.bool_]) -> float:
        return (rate(scores >= policy, unsafe) + rate(scores < policy, ~unsafe)) / 2

    def both(measure: Callable[..., float]) -> Measure:
        def measured(scores: Floats, unsafe: NDArray[np.bool_]) -> float:
            return float(measure(unsafe, scores)) if 0 < unsafe.sum() < len(unsafe) else np.nan

        return measured

    def at_threshold(threshold: float) -> dict[str, Measure]:
        return {
            f"recall@{threshold:g}": lambda scores, unsafe: rate(scores >= threshold, unsafe),
            f"false_positive_rate@{threshold:g}": lambda scores, unsafe: rate(
                scores >= threshold, ~unsafe
            ),
        }

    found: dict[str, Measure] = {
        "accuracy": lambda scores, unsafe: float(((scores >= policy) == unsafe).mean()),
        "balanced_accuracy": balanced,
        "auroc": both(roc_auc_score),
        "average_precision": both(average_precision_score),
        "brier": lambda scores, unsafe: float(((scores - unsafe) ** 2).mean()),
        "ece": lambda scores, unsafe: calibration_error(scores, unsafe, np.ones(len(scores))),
    }
    for threshold in thresholds:
        found |= at_threshold(threshold)
    return found


def _resamples(count: int) -> list[NDArray[np.int64]]:
    rng = np.random.default_rng(SEED)
    return [rng.integers(0, count, count) for _ in range(RESAMPLES)]


def _measured(value: float, values: list[float]) -> Measured:
    defined = np.array(values)[~np.isnan(values)]
    if np.isnan(value) or not len(defined):
        return Measured(None, None, None)
    lower, upper = np.quantile(defined, [0.025, 0.975])
    return Measured(value, float(lower), float(upper))


def _checked(scores: NDArray[Any], unsafe: NDArray[Any]) -> tuple[Floats, NDArray[np.bool_]]:
    values, labels = np.asarray(scores, np.float64), np.asarray(unsafe, bool)
    if values.shape != labels.shape or values.ndim != 1:
        raise ValueError(f"Scores have shape {values.shape}, labels {labels.shape}.")
    if not len(values):
        raise ValueError("There is no image to evaluate.")
    if not np.all((values >= 0) & (values <= 1)):
        raise ValueError("A score is not between 0 and 1.")
    return values, labels
