"""The estimated unsafe rate among kept images: right for another distribution of scores."""

import numpy as np
import pytest

from nsfw_app.evidence.estimates import proportion
from nsfw_app.evidence.kept_rate import kept_rate
from nsfw_app.evidence.sample import NOT_REVIEWED, SAFE, UNSAFE, Sample

BINS = 20
REPEATS = 400


def arrived(rng: np.random.Generator, count: int) -> Sample:
    """Images with mostly low scores, of which those above 0.1 are reviewed more often."""
    scores = rng.beta(0.5, 4, count)
    probabilities = np.where(scores < 0.1, 0.2, 0.6)
    unsafe = rng.random(count) < truth(scores)
    drawn = rng.random(count) < probabilities
    labels = np.where(drawn, np.where(unsafe, UNSAFE, SAFE), NOT_REVIEWED)
    return Sample(scores, probabilities, labels)


def truth(scores: np.ndarray) -> np.ndarray:
    """The probability that an image with a score is unsafe."""
    return scores**1.2


def test_the_interval_covers_the_rate_of_another_distribution() -> None:
    """In 95 % of repetitions, within what chance allows, where the plain rate would not."""
    kept = np.random.default_rng(1).beta(2, 3, 100_000) * 0.3  # more than arrived near the border
    counts = np.histogram(kept, BINS, (0, 1))[0].tolist()
    true_rate = float(truth(kept).mean())
    covering = plain = 0
    for seed in range(REPEATS):
        sample = arrived(np.random.default_rng(seed), 3_000)
        found = kept_rate(sample, counts)
        assert found is not None
        assert found.covered == 1
        covering += found.rate.lower <= true_rate <= found.rate.upper
        low = sample.reviewed & (sample.scores < 0.3)
        naive = proportion(
            sample.labels[low] == UNSAFE, 1 / sample.probabilities[low], confidence=0.95
        )
        plain += naive.lower <= true_rate <= naive.upper
    assert covering / REPEATS >= 0.92
    assert plain / REPEATS < 0.5


def test_the_interval_covers_a_low_rate_from_few_reviews() -> None:
    """Ranges in which no unsafe image was seen are not taken for safe."""
    kept = np.random.default_rng(1).beta(1, 20, 100_000)
    counts = np.histogram(kept, BINS, (0, 1))[0].tolist()
    true_rate = float(truth(kept).mean())
    found = [kept_rate(arrived(np.random.default_rng(s), 1_000), counts) for s in range(REPEATS)]
    covering = sum(each.rate.lower <= true_rate <= each.rate.upper for each in found if each)
    assert covering / REPEATS >= 0.92


def test_the_estimate_by_hand() -> None:
    """In each range the share of unsafe reviews, weighted with the number of kept images."""
    scores, labels = [0.1, 0.2, 0.6, 0.7], [UNSAFE, SAFE, UNSAFE, UNSAFE]
    sample = Sample(np.array(scores), np.array([1, 0.5, 1, 1]), np.array(labels))
    found = kept_rate(sample, [30, 10])
    assert found is not None
    assert found.rate.value == pytest.approx((30 * 1 / 3 + 10 * 1) / 40)
    assert (found.images, found.covered, found.rate.reviews) == (40, 1.0, 4)


def test_ranges_without_reviews_are_not_covered() -> None:
    """The estimate is about the others, and says how many these are."""
    sample = Sample(np.array([0.1, 1.0]), np.ones(2), np.array([SAFE, SAFE]))
    found = kept_rate(sample, [30, 70, 0, 0])
    assert found is not None
    assert (found.rate.value, found.images, found.covered) == (0.0, 30, 0.3)
    assert found.rate.reviews == 1
    assert 0 < found.rate.upper < 1


@pytest.mark.parametrize("counts", [[0, 0], [0, 5]])
def test_no_estimate(counts: list[int]) -> None:
    """Without a kept image, or without a review of their scores, there is none."""
    sample = Sample(np.array([0.1]), np.ones(1), np.array([SAFE]))
    assert kept_rate(sample, counts) is None
    nothing = Sample(np.zeros(0), np.zeros(0), np.zeros(0, np.int8))
    assert kept_rate(nothing, [5, 5]) is None
