"""Whether a candidate model is shown to be better than the current one, on held-out images.

- The primary measure is the area under the ROC curve (AUROC): whether unsafe images score higher
  than safe ones. It depends on no threshold, and scores that only move toward the middle do not
  raise it. Log loss would reward those: a model that has learned nothing beats a confident one on
  labels that are noise.
- Many labels are corrections, images chosen because the current model was wrong about them. They
  cannot show what a candidate does to images that are right today. So recall and false positive
  rate at the policy's threshold are compared on all other images, and must not get worse by more
  than `MARGIN`.
- Near duplicates are not independent. Intervals are percentile bootstrap intervals over groups of
  near duplicates, the same resamples for both models; McNemar's test counts groups.

Sources: Efron (1979), for the bootstrap; Field and Welsh (2007), for resampling groups; McNemar
(1947), exact version; Piaggio et al. (2012), for margins.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from nsfw_app.evidence.evaluation import SEED, Floats, Measured, auroc, measured

RESAMPLES = 1000
PRIMARY = "auroc"
MARGIN = 0.05  # by which recall may be lower, and the false positive rate higher, elsewhere
# Groups of each label elsewhere. With fewer, even no changed label at all would not show that the
# change is below the margin: the upper end of Wilson's interval of 0 of 73 is 5 %.
MIN_ELSEWHERE = 73
CHANCE = 0.5  # the AUROC of scores that have nothing to do with the labels
EPSILON = 1e-7  # nearer to 0 or 1, a score counts as this in the log loss
Bools = NDArray[np.bool_]
Measure = Callable[[Floats, Bools], float]


class Outcome(StrEnum):
    """What a comparison shows about the candidate."""

    BETTER = "better"
    NOT_SHOWN = "not shown to be better"
    WORSE = "worse"


class Part(StrEnum):
    """Which images of the test split a comparison is of."""

    ALL = "all"
    CORRECTIONS = "corrections"
    ELSEWHERE = "elsewhere"


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
      three at the policy's threshold.
    - `only_current` and `only_candidate` count groups of near duplicates in which one model labels
      more images correctly; `p_value` is McNemar's exact one.
    """

    images: int
    unsafe: int
    groups: int
    unsafe_groups: int
    safe_groups: int
    measures: Mapping[str, PairedMeasure]
    only_current: int
    only_candidate: int
    p_value: float


@dataclass(frozen=True, slots=True)
class Replacement:
    """The outcome, sentences that explain it, and the comparisons it is from."""

    outcome: Outcome
    reasons: tuple[str, ...]
    threshold: float
    parts: Mapping[Part, Comparison]


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Images that neither model was fitted to, as arrays of shape (n,).

    `groups` has the same number for near duplicates; `corrections` is whether an image was chosen
    because the current model was wrong about it.
    """

    unsafe: Bools
    groups: NDArray[np.int64]
    corrections: Bools


def compare_candidate(
    current: Floats, candidate: Floats, images: HeldOut, *, threshold: float
) -> Replacement:
    """Compare a candidate with the current model.

    Args:
        current: Shape (n,), nsfw scores of the current model.
        candidate: Shape (n,), those of the candidate.
        images: Labels, groups, and which are corrections.
        threshold: Of the policy, for both models.
    """
    chosen = {
        Part.ALL: np.ones(len(current), bool),
        Part.CORRECTIONS: images.corrections,
        Part.ELSEWHERE: ~images.corrections,
    }
    parts = {
        part: _compare(
            current[some], candidate[some], images.unsafe[some], images.groups[some], threshold
        )
        for part, some in chosen.items()
        if some.any()
    }
    primary = parts[Part.ALL].measures[PRIMARY]
    obstacles = [
        *_primary_obstacles(primary),
        *_elsewhere_obstacles(parts.get(Part.ELSEWHERE)),
    ]
    outcome = Outcome.NOT_SHOWN
    if not obstacles:
        outcome = Outcome.BETTER
    elif _is_worse(primary, parts.get(Part.ELSEWHERE)):
        outcome = Outcome.WORSE
    return Replacement(outcome, (_primary_sentence(primary), *obstacles), threshold, parts)


def _compare(
    current: Floats, candidate: Floats, unsafe: Bools, groups: NDArray[np.int64], threshold: float
) -> Comparison:
    measures = _measures(threshold)
    values: dict[str, list[tuple[float, float]]] = {name: [] for name in measures}
    for chosen in _resamples(groups):
        labels, one, other = unsafe[chosen], current[chosen], candidate[chosen]
        for name, measure in measures.items():
            values[name].append((measure(one, labels), measure(other, labels)))
    unsafe_groups, safe_groups = (len(np.unique(groups[some])) for some in (unsafe, ~unsafe))
    of = {
        "accuracy": len(np.unique(groups)),
        "recall": unsafe_groups,
        "false_positive_rate": safe_groups,
    }
    found = {}
    for name, measure in measures.items():
        first, second = measure(current, unsafe), measure(candidate, unsafe)
        ones, others = zip(*values[name], strict=True)
        found[name] = PairedMeasure(
            measured(first, list(ones), of=of.get(name)),
            measured(second, list(others), of=of.get(name)),
            measured(second - first, list(np.subtract(others, ones))),
        )
    changes = ((candidate >= threshold) == unsafe).astype(int) - (
        (current >= threshold) == unsafe
    ).astype(int)
    signs = np.sign(np.bincount(groups, weights=changes))
    gained, lost = int((signs > 0).sum()), int((signs < 0).sum())
    return Comparison(
        images=len(unsafe),
        unsafe=int(unsafe.sum()),
        groups=len(np.unique(groups)),
        unsafe_groups=unsafe_groups,
        safe_groups=safe_groups,
        measures=found,
        only_current=lost,
        only_candidate=gained,
        p_value=float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0,
    )


def _measures(threshold: float) -> dict[str, Measure]:
    def rate(flagged: Bools, of: Bools) -> float:
        return float(flagged[of].mean()) if of.any() else np.nan

    def log_loss(scores: Floats, unsafe: Bools) -> float:
        likely = np.where(unsafe, scores, 1 - scores).clip(EPSILON, 1)
        return float(-np.log(likely).mean())

    def area(scores: Floats, unsafe: Bools) -> float:
        return auroc(scores, unsafe) if 0 < unsafe.sum() < len(unsafe) else np.nan

    return {
        PRIMARY: area,
        "log_loss": log_loss,
        "accuracy": lambda scores, unsafe: float(((scores >= threshold) == unsafe).mean()),
        "recall": lambda scores, unsafe: rate(scores >= threshold, unsafe),
        "false_positive_rate": lambda scores, unsafe: rate(scores >= threshold, ~unsafe),
    }


def _resamples(groups: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Indices of images: as many groups as there are, drawn with replacement; always the same."""
    _, numbers = np.unique(groups, return_inverse=True)
    count = int(numbers.max()) + 1
    rng = np.random.default_rng(SEED)
    for _ in range(RESAMPLES):
        times = np.bincount(rng.integers(0, count, count), minlength=count)
        yield np.repeat(np.arange(len(groups)), times[numbers])


def _primary_obstacles(primary: PairedMeasure) -> Iterator[str]:
    difference, candidate = primary.difference, primary.candidate
    if difference.lower is None or candidate.lower is None:
        yield "The area under the ROC curve is not defined: both labels are needed."
    elif difference.lower <= 0:
        yield "The interval of the difference does not lie above 0."
    elif candidate.lower <= CHANCE:
        yield f"The interval of the candidate does not lie above {CHANCE:g}, which is chance."


def _elsewhere_obstacles(elsewhere: Comparison | None) -> Iterator[str]:
    """Why it is not shown that images that are no corrections are classified as well."""
    if elsewhere is None or min(elsewhere.unsafe_groups, elsewhere.safe_groups) < MIN_ELSEWHERE:
        unsafe, safe = (elsewhere.unsafe_groups, elsewhere.safe_groups) if elsewhere else (0, 0)
        yield (
            f"The test split has {unsafe} nsfw and {safe} normal groups of images that are no "
            f"corrections; {MIN_ELSEWHERE} of each are needed to show that the candidate is no "
            "worse there. Add settled decisions to the training set."
        )
        return
    for name, worse in _losses(elsewhere).items():
        if worse.upper is None or worse.upper > MARGIN:
            yield (
                f"Elsewhere, the {name} may be worse by more than {MARGIN:g}: the interval of "
                f"its loss is {_interval(worse)}."
            )


def _is_worse(primary: PairedMeasure, elsewhere: Comparison | None) -> bool:
    """Whether the primary measure, or where it shows nothing a rate elsewhere, is shown worse."""
    lower, upper = primary.difference.lower, primary.difference.upper
    if lower is None or upper is None or lower > 0:
        return False
    losses = _losses(elsewhere).values() if elsewhere else ()
    return upper < 0 or any(loss.lower is not None and loss.lower > MARGIN for loss in losses)


def _losses(elsewhere: Comparison) -> dict[str, Measured]:
    """By how much the rates are worse: positive where the candidate is the worse one."""
    recall = elsewhere.measures["recall"].difference
    lower, upper, value = recall.upper, recall.lower, recall.value
    return {
        "recall": Measured(*(None if each is None else -each for each in (value, lower, upper))),
        "false positive rate": elsewhere.measures["false_positive_rate"].difference,
    }


def _primary_sentence(primary: PairedMeasure) -> str:
    return (
        f"AUROC is {_value(primary.candidate)} in place of {_value(primary.current)}: a difference "
        f"of {_value(primary.difference)} ({_interval(primary.difference)})."
    )


def _value(measure: Measured) -> str:
    return "not defined" if measure.value is None else f"{measure.value:.3f}"


def _interval(measure: Measured) -> str:
    if measure.lower is None or measure.upper is None:
        return "not defined"
    return f"{measure.lower:.3f} to {measure.upper:.3f}"
