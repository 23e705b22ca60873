"""Estimates: values by hand, coverage of the intervals by simulation."""

import numpy as np
import pytest

from nsfw_app.evidence.estimates import Interval, estimate, proportion
from nsfw_app.evidence.sample import Sample
from tests.support.streams import COVERAGE_CASES, Plan, stream, truths

RUNS = 800


@pytest.mark.parametrize(("plan", "images", "threshold", "at_least"), COVERAGE_CASES)
def test_intervals_cover_the_truth(
    plan: Plan, images: int, threshold: float, at_least: float
) -> None:
    """A 95 % interval contains the truth in 93 to 97 % of the runs, in more if near 0 or 1."""
    rng = np.random.default_rng(images)
    covered = dict.fromkeys(truths(threshold), 0)
    for _ in range(RUNS):
        estimates = estimate(stream(rng, images, plan), threshold=threshold)
        for name, truth in truths(threshold).items():
            interval = getattr(estimates, name)
            covered[name] += interval.lower <= truth <= interval.upper
    error = 2 * np.sqrt(0.05 * 0.95 / RUNS)
    for name, count in covered.items():
        assert count / RUNS >= at_least - error, (name, covered)
    assert covered["recall"] / RUNS <= 0.97 + error


def test_values_by_hand() -> None:
    """Each review counts with its inverse probability."""
    sample = Sample(
        scores=np.array([0.9, 0.8, 0.3, 0.1, 0.1, 0.6]),
        probabilities=np.array([0.5, 0.5, 1.0, 0.1, 0.1, 1.0]),
        labels=np.array([1, 0, 1, 0, -1, -1]),
        unsettled=np.array([0, 0, 0, 0, 0, 1], bool),
    )
    found = estimate(sample, threshold=0.5)
    assert found.recall.value == pytest.approx(2 / 3)
    assert found.recall.reviews == 2
    assert found.precision.value == pytest.approx(2 / 4)
    assert found.prevalence.value == pytest.approx(3 / 15)
    assert found.false_positive_rate.value == pytest.approx(2 / 12)
    assert found.missed.value == pytest.approx(6 * 1 / 15)
    assert found.flagged == Interval(3, 3, 3, 2)
    assert (found.images, found.unsettled) == (6, 1)


def test_nothing_is_claimed_without_reviews() -> None:
    """Without reviews there is no value, and the interval is the whole range."""
    sample = Sample(np.array([0.9, 0.1]), np.array([1.0, 0.1]), np.array([-1, -1]))
    found = estimate(sample, threshold=0.5)
    for interval in (found.recall, found.precision, found.prevalence, found.false_positive_rate):
        assert interval == Interval(None, 0.0, 1.0, 0)
    assert found.missed == Interval(None, 0.0, 2.0, 0)


def test_equal_weights_give_the_jeffreys_interval() -> None:
    """With equal weights the interval is nearly that of a simple random sample."""
    part = np.arange(100) < 20
    found = proportion(part, np.full(100, 20.0), confidence=0.95)
    assert found.value == pytest.approx(0.2)
    assert (found.lower, found.upper) == pytest.approx((0.130, 0.286), abs=0.002)
    none = proportion(np.zeros(100, bool), np.full(100, 20.0), confidence=0.95)
    assert (none.value, none.lower) == (0, 0)
    assert none.upper == pytest.approx(0.0247, abs=0.0005)


@pytest.mark.parametrize("values", [{"threshold": 1.5}, {"threshold": 0.5, "confidence": 1.0}])
def test_values_out_of_range_are_refused(values: dict[str, float]) -> None:
    """Threshold and confidence are checked."""
    with pytest.raises(ValueError, match="expected a number"):
        estimate(stream(np.random.default_rng(0), 10), **values)


def test_a_share_of_all_reviews_is_exactly_one() -> None:
    """Rounding of weights does not widen the interval of what is true of each review."""
    rng = np.random.default_rng(3)
    for reviews in range(100, 200):
        weights = 1 / rng.choice([0.05, 0.3, 1.0], reviews)
        found = proportion(np.ones(reviews, bool), weights, confidence=0.95)
        assert (found.value, found.upper) == (1.0, 1.0)
        assert found.lower > 0.9
