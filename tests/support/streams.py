"""Streams of images whose truth is known, for the simulations of guarantees and estimates."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from nsfw_app.evidence.sample import NOT_REVIEWED, Sample

PREVALENCE = 0.06
UNSAFE_SCORES, SAFE_SCORES = (3, 0.9), (0.5, 6)  # of beta distributions
LOW, HIGH = 0.02, 0.4  # no unsafe image of `failing_stream` has a score between them
Plan = Callable[[NDArray[Any]], NDArray[Any]]


def band_and_audits(scores: NDArray[Any]) -> NDArray[Any]:
    """The band from 0.2 to 0.8 is reviewed whole, 5 % of the others."""
    return np.where((scores >= 0.2) & (scores < 0.8), 1.0, 0.05)


def stream(rng: np.random.Generator, images: int, plan: Plan = band_and_audits) -> Sample:
    """A model as they are: its recall is 0.993 at 0.2 and 0.945 at 0.4."""
    unsafe = rng.random(images) < PREVALENCE
    scores = np.where(unsafe, rng.beta(*UNSAFE_SCORES, images), rng.beta(*SAFE_SCORES, images))
    return drawn(rng, scores, unsafe, plan)


def failing_stream(rng: np.random.Generator, images: int, *, recall: float) -> Sample:
    """A model with this recall at every threshold from `LOW` to `HIGH`."""
    unsafe = rng.random(images) < PREVALENCE
    missed = rng.random(images) > recall
    high = HIGH + (1 - HIGH) * rng.beta(*UNSAFE_SCORES, images)
    unsafe_scores = np.where(missed, LOW * rng.random(images), high)
    scores = np.where(unsafe, unsafe_scores, rng.beta(*SAFE_SCORES, images))
    return drawn(rng, scores, unsafe, band_and_audits)


def drawn(
    rng: np.random.Generator, scores: NDArray[Any], unsafe: NDArray[Any], plan: Plan
) -> Sample:
    """Images of which each is reviewed with the probability that a plan gives its score."""
    probabilities = plan(scores)
    reviewed = rng.random(len(scores)) < probabilities
    return Sample(scores, probabilities, np.where(reviewed, unsafe, NOT_REVIEWED))


def true_recall(threshold: float) -> float:
    """The recall of `stream` at a threshold."""
    return float(beta.sf(threshold, *UNSAFE_SCORES))


def true_false_positive_rate(threshold: float) -> float:
    """The false positive rate of `stream` at a threshold."""
    return float(beta.sf(threshold, *SAFE_SCORES))
