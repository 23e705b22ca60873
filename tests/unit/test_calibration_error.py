"""The expected calibration error: without bias, within its interval, and right where it is 0."""

import numpy as np
import pytest

from nsfw_app.evidence.calibration_error import calibration_error, seen_error
from tests.support.miscalibration import TRUTHS, simulated, true_error

RUNS = 60


@pytest.mark.parametrize("audits", [False, True])
@pytest.mark.parametrize("images", [200, 1000])
@pytest.mark.parametrize("name", TRUTHS)
def test_the_interval_contains_the_truth_and_the_value(
    name: str, images: int, audits: bool
) -> None:
    """In at least 95 % of the runs within the error of the simulation, also where it is 0."""
    right = true_error(name)
    rng, runs = np.random.default_rng(images), []
    for _ in range(RUNS):
        found, seen = simulated(rng, name, images, audits=audits)
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
