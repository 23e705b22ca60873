"""The expected calibration error: without bias, within its interval, and right where it is 0."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import expit, logit

from nsfw_app.evidence.calibration_error import CalibrationError, calibration_error, seen_error

RUNS = 60
TRUTHS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "right": lambda scores: scores,
    "all too high": lambda scores: expit(logit(scores) - 0.5),
    "too sure": lambda scores: expit(0.6 * logit(scores)),
    "one range": lambda scores: np.where((scores > 0.6) & (scores < 0.8), scores - 0.3, scores),
}


def found_of(
    rng: np.random.Generator,
    truth: Callable[[np.ndarray], np.ndarray],
    images: int,
    *,
    audits: bool,
) -> tuple[CalibrationError, float]:
    """The error of some scores, and as it is seen; with audits, the band and a tenth of others."""
    scores = rng.beta(0.6, 1.5, images).clip(1e-6, 1 - 1e-6)
    weights = np.where(audits & ((scores < 0.2) | (scores > 0.8)), 10.0, 1.0)
    drawn = rng.random(images) < 1 / weights
    scores, weights = scores[drawn], weights[drawn]
    unsafe = rng.random(len(scores)) < truth(scores)
    return calibration_error(scores, unsafe, weights), seen_error(scores, unsafe, weights)


@pytest.mark.parametrize("audits", [False, True])
@pytest.mark.parametrize("images", [200, 1000])
@pytest.mark.parametrize("name", TRUTHS)
def test_the_interval_contains_the_truth_and_the_value(
    name: str, images: int, audits: bool
) -> None:
    """In at least 95 % of the runs within the error of the simulation, also where it is 0."""
    scores = np.random.default_rng(0).beta(0.6, 1.5, 200_000).clip(1e-6, 1 - 1e-6)
    right = seen_error(scores, TRUTHS[name](scores), np.ones(200_000))  # type: ignore[arg-type]
    rng, runs = np.random.default_rng(images), []
    for _ in range(RUNS):
        found, seen = found_of(rng, TRUTHS[name], images, audits=audits)
        assert 0 <= found.lower <= found.value <= found.upper <= 1
        assert found.value <= seen + 1e-3
        runs.append((found.lower <= right <= found.upper, found.value, seen))
    covered, values, seen_values = np.array(runs).T
    assert covered.mean() >= 0.95 - 2 * np.sqrt(0.05 * 0.95 / RUNS)
    if not audits:
        assert values.mean() == pytest.approx(right, abs=0.025)
    if name == "right":
        assert values.mean() < seen_values.mean() / 2


def test_the_seen_error_by_hand() -> None:
    """It is the mean distance of probabilities and shares; perfect ones have none."""
    unsafe, weights = np.array([True, False] * 15), np.ones(30)
    assert seen_error(np.full(30, 0.9), unsafe, weights) == pytest.approx(0.4)
    assert seen_error(np.full(30, 0.5), unsafe, weights) == pytest.approx(0.0)


def test_large_errors_are_hardly_corrected() -> None:
    """Far from chance the value is the seen one; of many images the interval is narrow."""
    scores, unsafe = np.full(10_000, 0.9), np.arange(10_000) % 2 == 0
    found = calibration_error(scores, unsafe, np.ones(10_000))
    assert found.value == pytest.approx(0.4, abs=0.005)
    assert found.upper - found.lower < 0.05
    one = calibration_error(np.array([0.2]), np.array([True]), np.ones(1))
    assert one.lower <= one.value <= one.upper <= 1
