"""Scores whose true probabilities are known, for the simulations of the calibration error."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from nsfw_app.evidence.calibration_error import CalibrationError, calibration_error, seen_error

Floats = NDArray[np.float64]
TRUTHS: dict[str, Callable[[Floats], Floats]] = {
    "right": lambda scores: scores,
    "all too high": lambda scores: np.asarray(expit(logit(scores) - 0.5)),
    "too sure": lambda scores: np.asarray(expit(0.6 * logit(scores))),
    "one range": lambda scores: np.where((scores > 0.6) & (scores < 0.8), scores - 0.3, scores),
}
MANY = 200_000  # images for the true error


def true_error(name: str) -> float:
    """The calibration error of a truth, over many images."""
    scores = _scores(np.random.default_rng(0), MANY)
    shares = TRUTHS[name](scores)
    order = np.argsort(scores)
    parts = np.array_split((scores - shares)[order], 15)
    return float(np.mean([abs(part.mean()) for part in parts]))


def simulated(
    rng: np.random.Generator, name: str, images: int, *, audits: bool
) -> tuple[CalibrationError, float]:
    """The error of some scores, and as it is seen; with audits, the band and a tenth of others."""
    scores = _scores(rng, images)
    weights = np.where(audits & ((scores < 0.2) | (scores > 0.8)), 10.0, 1.0)
    drawn = rng.random(images) < 1 / weights
    scores, weights = scores[drawn], weights[drawn]
    unsafe = rng.random(len(scores)) < TRUTHS[name](scores)
    return calibration_error(scores, unsafe, weights), seen_error(scores, unsafe, weights)


def _scores(rng: np.random.Generator, images: int) -> Floats:
    return rng.beta(0.6, 1.5, images).clip(1e-6, 1 - 1e-6)
