"""Streams of images whose truth is known, for the simulations of guarantees and estimates."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from nsfw_app.evidence.estimates import estimate
from nsfw_app.evidence.sample import NOT_REVIEWED, UNSAFE, Sample

PREVALENCE = 0.06
UNSAFE_SCORES, SAFE_SCORES = (3, 0.9), (0.5, 6)  # of beta distributions
LOW, HIGH = 0.02, 0.4  # no unsafe image of `failing_stream` has a score between them
CONFIDENT = 0.95  # the score of a safe image that the model is wrongly sure of
CANDIDATES = np.array([0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4])
Plan = Callable[[NDArray[Any]], NDArray[Any]]


def band_and_audits(scores: NDArray[Any]) -> NDArray[Any]:
    """The band from 0.2 to 0.8 is reviewed whole, 5 % of the others."""
    return np.where((scores >= 0.2) & (scores < 0.8), 1.0, 0.05)


def everything(scores: NDArray[Any]) -> NDArray[Any]:
    """Each image is reviewed."""
    return np.ones_like(scores)


def one_in_twenty(scores: NDArray[Any]) -> NDArray[Any]:
    """Each image is reviewed with a probability of 5 %."""
    return np.full_like(scores, 0.05)


def audit_plan(scores: NDArray[Any]) -> NDArray[Any]:
    """Four rates, by score."""
    return np.select([scores < 0.05, scores < 0.2, scores < 0.8], [0.02, 0.1, 1.0], 0.05)


def rare_audits(scores: NDArray[Any]) -> NDArray[Any]:
    """The band is reviewed whole, of the others 2 in 1,000."""
    return np.where((scores >= 0.2) & (scores < 0.8), 1.0, 0.002)


def one_rare_range(scores: NDArray[Any]) -> NDArray[Any]:
    """All is reviewed but scores below `LOW`, where every missed image is: 2 in 1,000 of those."""
    return np.where(scores < LOW, 0.002, 1.0)


def ever_rarer_ranges(scores: NDArray[Any]) -> NDArray[Any]:
    """Rates below `LOW` halve with each fifth of the range."""
    fifth = np.minimum((scores / LOW * 5).astype(int), 5)
    return np.asarray(np.array([0.01, 0.02, 0.04, 0.08, 0.16, 1.0])[fifth])


def band_and_few_audits(scores: NDArray[Any]) -> NDArray[Any]:
    """The band from 0.2 to 0.8 is reviewed whole, 2 % of the others."""
    return np.where((scores >= 0.2) & (scores < 0.8), 1.0, 0.02)


class CoverageCase(NamedTuple):
    """A stream, how it is reviewed, and the threshold whose intervals must contain the truth."""

    plan: Plan
    images: int
    threshold: float
    prevalence: float = PREVALENCE
    unsafe_scores: tuple[float, float] = UNSAFE_SCORES


WEAKER, WEAKEST = (1.5, 0.9), (1.2, 1.0)  # scores of unsafe images by models that miss more
COVERAGE_CASES = (
    CoverageCase(everything, 500, 0.6),  # 30 unsafe images are reviewed
    CoverageCase(one_in_twenty, 10_000, 0.6),  # as many
    CoverageCase(band_and_audits, 1_000, 0.2),  # as many, most of the weight in few of them
    CoverageCase(band_and_audits, 1_000, 0.3),
    CoverageCase(band_and_audits, 1_000, 0.5),
    CoverageCase(band_and_audits, 1_000, 0.85),
    CoverageCase(band_and_audits, 2_000, 0.85),
    CoverageCase(band_and_audits, 2_000, 0.85, unsafe_scores=WEAKER),
    CoverageCase(band_and_few_audits, 3_000, 0.2, unsafe_scores=WEAKEST),
    CoverageCase(band_and_audits, 10_000, 0.2, 0.03, WEAKEST),
    CoverageCase(band_and_audits, 20_000, 0.5),
    CoverageCase(audit_plan, 5_000, 0.4),
    CoverageCase(audit_plan, 20_000, 0.4),
)


def stream(
    rng: np.random.Generator,
    images: int,
    plan: Plan = band_and_audits,
    *,
    prevalence: float = PREVALENCE,
    unsafe_scores: tuple[float, float] = UNSAFE_SCORES,
    confident_mistakes: float = 0.0,
) -> Sample:
    """A model as they are: by default its recall is 0.993 at 0.2 and 0.945 at 0.4.

    `confident_mistakes` is the share of safe images that have the score `CONFIDENT`.
    """
    unsafe = rng.random(images) < prevalence
    scores = np.where(unsafe, rng.beta(*unsafe_scores, images), rng.beta(*SAFE_SCORES, images))
    return drawn(rng, _with_mistakes(rng, scores, unsafe, confident_mistakes), unsafe, plan)


def failing_stream(
    rng: np.random.Generator,
    images: int,
    plan: Plan = band_and_audits,
    *,
    recall: float,
    prevalence: float = PREVALENCE,
    confident_mistakes: float = 0.0,
    missed_scores: tuple[float, float] = (0.0, LOW),
) -> Sample:
    """A model with this recall at every threshold from the end of `missed_scores` to `HIGH`."""
    unsafe = rng.random(images) < prevalence
    missed = rng.random(images) > recall
    high = HIGH + (1 - HIGH) * rng.beta(*UNSAFE_SCORES, images)
    lower, upper = missed_scores
    unsafe_scores = np.where(missed, lower + (upper - lower) * rng.random(images), high)
    scores = np.where(unsafe, unsafe_scores, rng.beta(*SAFE_SCORES, images))
    return drawn(rng, _with_mistakes(rng, scores, unsafe, confident_mistakes), unsafe, plan)


def drawn(
    rng: np.random.Generator, scores: NDArray[Any], unsafe: NDArray[Any], plan: Plan
) -> Sample:
    """Images of which each is reviewed with the probability that a plan gives its score."""
    probabilities = plan(scores)
    reviewed = rng.random(len(scores)) < probabilities
    return Sample(scores, probabilities, np.where(reviewed, unsafe, NOT_REVIEWED))


def with_known_draws(sample: Sample) -> Sample:
    """The same, and the images without a label are known not to be drawn."""
    return Sample(sample.scores, sample.probabilities, sample.labels, np.zeros(len(sample), bool))


def joined(first: Sample, second: Sample) -> Sample:
    """The images of one sample, then those of another."""
    pairs = (
        (getattr(first, name), getattr(second, name))
        for name in ("scores", "probabilities", "labels", "unsettled")
    )
    return Sample(*map(np.concatenate, pairs))


def first_images(sample: Sample, count: int) -> Sample:
    """The images that had arrived after `count`."""
    return sample.subset(np.arange(min(count, len(sample))))


def label_orders(rng: np.random.Generator, sample: Sample) -> dict[str, NDArray[Any]]:
    """Orders in which people may decide on the drawn images, by name; shape (reviews,)."""
    reviewed = np.flatnonzero(sample.reviewed)
    scores, unsafe = sample.scores[reviewed], sample.labels[reviewed] == UNSAFE
    band = sample.probabilities[reviewed] == 1

    def by(*keys: NDArray[Any]) -> NDArray[Any]:
        """In rising order of the last key, then of those before it, then of arrival."""
        return reviewed[np.lexsort(keys)]

    return {
        "arrival": reviewed,
        "any": rng.permutation(reviewed),
        "newest first": reviewed[::-1],
        "band first": by(~band),
        "audits first": by(band),
        "rising score": by(scores),
        "falling score": by(-scores),
        "band first, rising score": by(scores, ~band),
        "band first, falling score": by(-scores, ~band),
        "doubtful first": by(np.abs(scores - 0.5)),
        "certain first": by(-np.abs(scores - 0.5)),
        "normal last": by(~unsafe),
        "unsafe last": by(unsafe),
    }


def labels_revealed(
    sample: Sample, order: NDArray[Any], every: int, *, first: int = 0
) -> Iterator[Sample]:
    """All images while their labels come in an order; which were drawn is not known.

    A look after each `every` labels, from the number `first` on.
    """
    for count in range(first, len(order) + every, every):
        labels = np.full(len(sample), NOT_REVIEWED)
        labels[order[:count]] = sample.labels[order[:count]]
        yield Sample(sample.scores, sample.probabilities, labels)


def true_recall(threshold: float) -> float:
    """The recall of `stream` at a threshold."""
    return float(beta.sf(threshold, *UNSAFE_SCORES))


def true_false_positive_rate(threshold: float) -> float:
    """The false positive rate of `stream` at a threshold, without confident mistakes."""
    return float(beta.sf(threshold, *SAFE_SCORES))


def coverage(case: CoverageCase, runs: int, *, seed: int) -> dict[str, float]:
    """In which share of the runs the interval of each estimate contains the truth, by its name.

    `missed` is compared with the number that is expected, `missed, of the images` with the one that
    there was.
    """
    rng = np.random.default_rng(seed)
    right = _truths(case)
    covered = dict.fromkeys([*right, "missed, of the images"], 0)
    options = {"prevalence": case.prevalence, "unsafe_scores": case.unsafe_scores}
    for _ in range(runs):
        whole = stream(rng, case.images, everything, **options)  # type: ignore[arg-type]
        sample = drawn(rng, whole.scores, whole.labels == UNSAFE, case.plan)
        found = estimate(sample, threshold=case.threshold)
        for name, truth in right.items():
            covered[name] += getattr(found, name).lower <= truth <= getattr(found, name).upper
        missed = int(np.count_nonzero((whole.labels == UNSAFE) & (whole.scores < case.threshold)))
        covered["missed, of the images"] += found.missed.lower <= missed <= found.missed.upper
    return {name: count / runs for name, count in covered.items()}


def _truths(case: CoverageCase) -> dict[str, float]:
    recall = float(beta.sf(case.threshold, *case.unsafe_scores))
    fpr = true_false_positive_rate(case.threshold)
    flagged = case.prevalence * recall + (1 - case.prevalence) * fpr
    return {
        "recall": recall,
        "precision": case.prevalence * recall / flagged,
        "prevalence": case.prevalence,
        "false_positive_rate": fpr,
        "missed": case.images * case.prevalence * (1 - recall),
    }


def _with_mistakes(
    rng: np.random.Generator, scores: NDArray[Any], unsafe: NDArray[Any], share: float
) -> NDArray[Any]:
    if not share:
        return scores
    return np.where(~unsafe & (rng.random(len(scores)) < share), CONFIDENT, scores)
