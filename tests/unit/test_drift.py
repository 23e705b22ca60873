"""Alarms of drift: rarely false however often one looks, raised when something has changed."""

import numpy as np
import pytest

from nsfw_app.evidence.drift import ALPHA, MIN_REFERENCE, rate_drift, score_drift
from tests.support.streams import stream

RUNS = 200


def scores(rng: np.random.Generator, images: int) -> np.ndarray:
    """Scores of the reference stream."""
    return stream(rng, images).scores


@pytest.mark.parametrize("reference", [300, 10_000])
def test_alarms_are_rare_without_drift(reference: int) -> None:
    """Over 10,000 recent images of the same kind, at most `ALPHA` of the runs raise an alarm."""
    rng = np.random.default_rng(reference)
    raised = rates = 0
    for _ in range(RUNS):
        raised += score_drift(scores(rng, reference), scores(rng, 10_000)).shown
        rates += rate_drift(rng.random(reference) < 0.04, rng.random(10_000) < 0.04).shown
    # 7 of 200 or more would be seen in 0.5 % of the tries at a rate of 1 %.
    assert ALPHA == 0.01
    assert max(raised, rates) < 7


def test_a_changed_distribution_is_found() -> None:
    """Scores that are a little higher raise the alarm, and not before they come."""
    rng = np.random.default_rng(1)
    for _ in range(10):
        same, changed = scores(rng, 2000), np.sqrt(scores(rng, 3000))
        found = score_drift(scores(rng, 10_000), np.concatenate([same, changed]))
        assert found.alarm is not None
        assert 2000 <= found.alarm < 3500


@pytest.mark.parametrize("rate", [0.01, 0.1])
def test_a_changed_rate_of_disagreement_is_found(rate: float) -> None:
    """A rate that rises or falls raises the alarm."""
    rng = np.random.default_rng(2)
    found = rate_drift(rng.random(5000) < 0.04, rng.random(5000) < rate)
    assert found.shown


def test_a_small_reference_is_not_compared() -> None:
    """With too few images, and without recent ones, there is no alarm."""
    rng = np.random.default_rng(3)
    found = score_drift(scores(rng, MIN_REFERENCE - 1), np.ones(1000))
    assert (found.compared, found.shown) == (False, False)
    nothing = score_drift(scores(rng, 1000), np.array([]))
    assert (nothing.shown, nothing.evidence, nothing.recent) == (False, 1.0, 0)
    assert not rate_drift(np.zeros(10, bool), np.ones(100, bool)).compared
