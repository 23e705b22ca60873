"""Streams of images whose truth is known, for the simulations of guarantees and estimates."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from nsfw_app.evidence.sample import NOT_REVIEWED, Sample

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


class CoverageCase(NamedTuple):
    """How a stream is reviewed, and how often intervals of 95 % must contain the truth."""

    plan: Plan
    images: int
    threshold: float
    at_least: float


COVERAGE_CASES = (
    CoverageCase(everything, 500, 0.6, 0.93),  # 30 unsafe images are reviewed
    CoverageCase(one_in_twenty, 10_000, 0.6, 0.93),  # as many
    CoverageCase(band_and_audits, 20_000, 0.5, 0.93),
    CoverageCase(audit_plan, 20_000, 0.4, 0.93),
    CoverageCase(band_and_audits, 1500, 0.3, 0.88),  # some five reviews carry most of the weight
)


def stream(
    rng: np.random.Generator,
    images: int,
    plan: Plan = band_and_audits,
    *,
    confident_mistakes: float = 0.0,
) -> Sample:
    """A model as they are: its recall is 0.993 at 0.2 and 0.945 at 0.4.

    `confident_mistakes` is the share of safe images that have the score `CONFIDENT`.
    """
    unsafe = rng.random(images) < PREVALENCE
    scores = np.where(unsafe, rng.beta(*UNSAFE_SCORES, images), rng.beta(*SAFE_SCORES, images))
    return drawn(rng, _with_mistakes(rng, scores, unsafe, confident_mistakes), unsafe, plan)


def failing_stream(
    rng: np.random.Generator,
    images: int,
    plan: Plan = band_and_audits,
    *,
    recall: float,
    prevalence: float = PREVALENCE,
    confident_mistakes: float = 0.0,
) -> Sample:
    """A model with this recall at every threshold from `LOW` to `HIGH`."""
    unsafe = rng.random(images) < prevalence
    missed = rng.random(images) > recall
    high = HIGH + (1 - HIGH) * rng.beta(*UNSAFE_SCORES, images)
    unsafe_scores = np.where(missed, LOW * rng.random(images), high)
    scores = np.where(unsafe, unsafe_scores, rng.beta(*SAFE_SCORES, images))
    return drawn(rng, _with_mistakes(rng, scores, unsafe, confident_mistakes), unsafe, plan)


def drawn(
    rng: np.random.Generator, scores: NDArray[Any], unsafe: NDArray[Any], plan: Plan
) -> Sample:
    """Images of which each is reviewed with the probability that a plan gives its score."""
    probabilities = plan(scores)
    reviewed = rng.random(len(scores)) < probabilities
    return Sample(scores, probabilities, np.where(reviewed, unsafe, NOT_REVIEWED))


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


def true_recall(threshold: float) -> float:
    """The recall of `stream` at a threshold."""
    return float(beta.sf(threshold, *UNSAFE_SCORES))


def true_false_positive_rate(threshold: float) -> float:
    """The false positive rate of `stream` at a threshold, without confident mistakes."""
    return float(beta.sf(threshold, *SAFE_SCORES))


def truths(threshold: float) -> dict[str, float]:
    """What is true of `stream` at a threshold, by the name of the estimate."""
    recall, fpr = true_recall(threshold), true_false_positive_rate(threshold)
    flagged = PREVALENCE * recall + (1 - PREVALENCE) * fpr
    return {
        "recall": recall,
        "precision": PREVALENCE * recall / flagged,
        "prevalence": PREVALENCE,
        "false_positive_rate": fpr,
    }


def _with_mistakes(
    rng: np.random.Generator, scores: NDArray[Any], unsafe: NDArray[Any], share: float
) -> NDArray[Any]:
    if not share:
        return scores
    return np.where(~unsafe & (rng.random(len(scores)) < share), CONFIDENT, scores)
