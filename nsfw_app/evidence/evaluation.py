"""Measures of a model on a labeled set, with bootstrap intervals, and paired comparisons.

- Every image of the set counts once: a labeled set is taken as a sample of itself.
- Rates have Wilson's intervals, the balanced accuracy combines two of them, and the AUROC has
  Newcombe's: they are valid for small sets, and where the value is 0 or 1.
- Average precision, Brier score and differences have percentile bootstrap intervals over images,
  from the same resamples for all, so that a difference of two models is paired. Resamples of a few
  images say little: below `MIN_IMAGES` there is no interval.
- The calibration error is without the part that chance adds; see `calibration_error`. Resamples
  have more of that part than the set: of a difference they give the width of the interval only.

Sources: Wilson (1927), for rates; Newcombe (1998), Interval estimation for the difference between
independent proportions, for sums of two rates; Newcombe (2006), Confidence intervals for an effect
size measure based on the Mann-Whitney statistic, method 5, after Hanley and McNeil (1982), for the
AUROC; Efron (1979), for the bootstrap; McNemar (1947), exact version, for two models' labels.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from nsfw_app.evidence.calibration_error import calibration_error, seen_error
from nsfw_app.evidence.metrics import Z_95, Share, wilson_interval

RESAMPLES = 1000
MIN_IMAGES, MIN_LABELS = 30, 10  # of a set, and of either label, for a bootstrap interval
ERROR = "ece"
BOOTSTRAPPED = {"average_precision", "brier"}
TOLERANCE = 1e-6  # of the bounds of the AUROC
SEED = 0  # the same set gives the same intervals
Floats = NDArray[np.float64]
Measure = Callable[[Floats, NDArray[np.bool_]], float]


@dataclass(frozen=True, slots=True)
class Measured:
    """A measure with its 95 % interval.

    All are None where the set does not define it; bounds are where it has too few images.
    """

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
    order = np.argsort(-scores, kind="stable")  # resamples of sorted scores are sorted fast
    scores, unsafe = scores[order], unsafe[order]
    measures = _measures(thresholds)
    found = {
        name: _exact(name, measure(scores, unsafe), scores, unsafe, policy=thresholds[0])
        for name, measure in measures
        if name not in {*BOOTSTRAPPED, ERROR}
    }
    resampled = [(name, measure) for name, measure in measures if name in BOOTSTRAPPED]
    values: dict[str, list[float]] = {name: [] for name, _ in resampled}
    if _are_enough(unsafe):
        for chosen in _resamples(len(scores)):
            some, labels = scores[chosen], unsafe[chosen]
            for name, measure in resampled:
                values[name].append(measure(some, labels))
    found |= {name: measured(measure(scores, unsafe), values[name]) for name, measure in resampled}
    found[ERROR] = _error(scores, unsafe)
    found = {name: found[name] for name, _ in measures}
    return Evaluation(len(scores), int(unsafe.sum()), found)


def compare(
    first: NDArray[Any],
    second: NDArray[Any],
    unsafe: NDArray[Any],
    *,
    thresholds: Sequence[float],
    second_thresholds: Sequence[float] | None = None,
) -> Difference:
    """Compare two models on the same images.

    Args:
        first: Shape (n,), nsfw scores of one model.
        second: Shape (n,), those of the other, in the same order.
        unsafe: Shape (n,), whether the label is nsfw.
        thresholds: As in `evaluate`; labels are compared at the first.
        second_thresholds: Those of the second model, where its policy is another; as many. A
            measure at two thresholds is named after the policy: `recall@policy`.

    Raises:
        ValueError: Shapes differ, a score leaves [0, 1], or there is no image.
    """
    one, unsafe = _checked(first, unsafe)
    other, _ = _checked(second, unsafe)
    own = thresholds if second_thresholds is None else second_thresholds
    if len(own) != len(thresholds):
        raise ValueError(f"One model has {len(thresholds)} thresholds, the other {len(own)}.")
    measures = [
        (_common_name(name, second_name), measure, second_measure)
        for (name, measure), (second_name, second_measure) in zip(
            _measures(thresholds), _measures(own), strict=True
        )
    ]
    values: dict[str, list[float]] = {name: [] for name, _, _ in measures}
    for i in _resamples(len(one)) if _are_enough(unsafe) else ():
        some, others, labels = one[i], other[i], unsafe[i]
        for name, measure, second_measure in measures:
            values[name].append(second_measure(others, labels) - measure(some, labels))
    found = {
        name: measured(second_measure(other, unsafe) - measure(one, unsafe), values[name])
        for name, measure, second_measure in measures
    }
    errors = [_error(scores, unsafe).value or 0.0 for scores in (one, other)]
    found[ERROR] = _centered(errors[1] - errors[0], values[ERROR])
    right = [(scores >= at) == unsafe for scores, at in ((one, thresholds[0]), (other, own[0]))]
    only_first, only_second = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    differ = only_first + only_second
    p_value = float(binomtest(only_first, differ).pvalue) if differ else 1.0
    return Difference(found, only_first, only_second, p_value)


def curve_points(
    scores: NDArray[Any], unsafe: NDArray[Any]
) -> tuple[Floats, NDArray[np.int64], NDArray[np.int64]]:
    """What every possible threshold flags: the scores that occur, falling, with their counts.

    Args:
        scores: Shape (n,).
        unsafe: Shape (n,), bool.

    Returns:
        Thresholds, and how many unsafe and how many safe images have at least that score.
    """
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    last = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)
    caught = np.cumsum(unsafe[order])[last]
    return ordered[last], caught, last + 1 - caught


def auroc(scores: Floats, unsafe: NDArray[np.bool_]) -> float:
    """Area under the ROC curve, in [0, 1]; both labels must occur."""
    _, caught, flagged_safe = curve_points(scores, unsafe)
    heights = np.concatenate([[0], caught]) / caught[-1]
    widths = np.concatenate([[0], flagged_safe]) / flagged_safe[-1]
    return float((np.diff(widths) * (heights[1:] + heights[:-1]) / 2).sum())


def _average_precision(scores: Floats, unsafe: NDArray[np.bool_]) -> float:
    _, caught, flagged_safe = curve_points(scores, unsafe)
    gained = np.diff(np.concatenate([[0], caught])) / caught[-1]
    return float((gained * caught / (caught + flagged_safe)).sum())


def _common_name(name: str, second_name: str) -> str:
    return name if name == second_name else f"{name.partition('@')[0]}@policy"


def _measures(thresholds: Sequence[float]) -> list[tuple[str, Measure]]:
    policy = thresholds[0]

    def rate(flagged: NDArray[np.bool_], of: NDArray[np.bool_]) -> float:
        return float(flagged[of].mean()) if of.any() else np.nan

    def balanced(scores: Floats, unsafe: NDArray[np.bool_]) -> float:
        return (rate(scores >= policy, unsafe) + rate(scores < policy, ~unsafe)) / 2

    def both(measure: Callable[..., float]) -> Measure:
        def measured(scores: Floats, unsafe: NDArray[np.bool_]) -> float:
            return measure(scores, unsafe) if 0 < unsafe.sum() < len(unsafe) else np.nan

        return measured

    def at_threshold(threshold: float) -> list[tuple[str, Measure]]:
        return [
            (f"recall@{threshold:g}", lambda scores, unsafe: rate(scores >= threshold, unsafe)),
            (
                f"false_positive_rate@{threshold:g}",
                lambda scores, unsafe: rate(scores >= threshold, ~unsafe),
            ),
        ]

    found: list[tuple[str, Measure]] = [
        ("accuracy", lambda scores, unsafe: float(((scores >= policy) == unsafe).mean())),
        ("balanced_accuracy", balanced),
        ("auroc", both(auroc)),
        ("average_precision", both(_average_precision)),
        ("brier", lambda scores, unsafe: float(((scores - unsafe) ** 2).mean())),
        (ERROR, lambda scores, unsafe: seen_error(scores, unsafe, np.ones(len(scores)))),
    ]
    for threshold in thresholds:
        found += at_threshold(threshold)
    return found


def _resamples(count: int) -> Iterator[NDArray[np.int64]]:
    """The same each time; made one by one, because those of a large set do not fit into memory."""
    rng = np.random.default_rng(SEED)
    for _ in range(RESAMPLES):
        yield np.sort(rng.integers(0, count, count))


def _are_enough(unsafe: NDArray[np.bool_]) -> bool:
    """Whether there are enough images for a bootstrap, where both labels occur."""
    rarer = min(np.count_nonzero(unsafe), np.count_nonzero(~unsafe))
    return len(unsafe) >= MIN_IMAGES and bool(rarer == 0 or rarer >= MIN_LABELS)


def _exact(
    name: str, value: float, scores: Floats, unsafe: NDArray[np.bool_], *, policy: float
) -> Measured:
    """A rate, a mean of two rates or the AUROC, with an interval for any number of images."""
    if np.isnan(value):
        return Measured(None, None, None)
    positives, negatives = int(unsafe.sum()), int((~unsafe).sum())
    if name == "auroc":
        return Measured(value, *_auroc_interval(value, positives, negatives))
    if name == "balanced_accuracy":
        caught = _wilson(float((scores[unsafe] >= policy).mean()), positives)
        passed = _wilson(float((scores[~unsafe] < policy).mean()), negatives)
        down, up = (
            math.hypot(*(rate - interval[at] for rate, interval in (caught, passed))) / 2
            for at in (0, 1)
        )
        return Measured(value, max(0.0, value - down), min(1.0, value + up))
    of = {"accuracy": len(unsafe), "recall": positives, "false_positive_rate": negatives}
    return Measured(value, *_wilson(value, of[name.partition("@")[0]])[1])


def _wilson(value: float, of: int) -> tuple[float, tuple[float, float]]:
    """A rate and its Wilson interval."""
    return value, wilson_interval(Share(round(value * of), of)) or (0.0, 1.0)


def _auroc_interval(value: float, positives: int, negatives: int) -> tuple[float, float]:
    """The values whose own standard error does not exclude the measured one."""
    pairs = positives * negatives
    half = (positives + negatives) / 2 - 1

    def excluded(truth: float) -> bool:
        spread = 1 + half * ((1 - truth) / (2 - truth) + truth / (1 + truth))
        error = math.sqrt(truth * (1 - truth) * spread / pairs)
        return abs(value - truth) > Z_95 * error

    found = []
    for end in (0.0, 1.0):
        inside, outside = value, end
        while abs(outside - inside) > TOLERANCE:
            middle = (inside + outside) / 2
            if excluded(middle):
                outside = middle
            else:
                inside = middle
        found.append(inside)
    return found[0], found[1]


def measured(value: float, values: list[float]) -> Measured:
    """A measure with the interval of its resamples; without bounds if there are none.

    Args:
        value: Of the set.
        values: Of its resamples; NaN where one does not define it.
    """
    if np.isnan(value):
        return Measured(None, None, None)
    defined = np.array(values)[~np.isnan(values)]
    if not len(defined):
        return Measured(value, None, None)
    lower, upper = np.quantile(defined, [0.025, 0.975])
    return Measured(value, min(value, float(lower)), max(value, float(upper)))


def _error(scores: Floats, unsafe: NDArray[np.bool_]) -> Measured:
    """The expected calibration error; without bounds where there are too few images."""
    found = calibration_error(scores, unsafe, np.ones(len(scores)))
    if not _are_enough(unsafe):
        return Measured(found.value, None, None)
    return Measured(found.value, found.lower, found.upper)


def _centered(value: float, values: list[float]) -> Measured:
    """A difference with an interval as wide as that of its resamples, around it."""
    if not values:
        return Measured(value, None, None)
    lower, upper = np.quantile(values, [0.025, 0.975]) - np.mean(values)
    return Measured(value, value + min(0.0, float(lower)), value + max(0.0, float(upper)))


def _checked(scores: NDArray[Any], unsafe: NDArray[Any]) -> tuple[Floats, NDArray[np.bool_]]:
    values, labels = np.asarray(scores, np.float64), np.asarray(unsafe, bool)
    if values.shape != labels.shape or values.ndim != 1:
        raise ValueError(f"Scores have shape {values.shape}, labels {labels.shape}.")
    if not len(values):
        raise ValueError("There is no image to evaluate.")
    if not np.all((values >= 0) & (values <= 1)):
        raise ValueError("A score is not between 0 and 1.")
    return values, labels
