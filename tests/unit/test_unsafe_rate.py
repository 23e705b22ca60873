"""The unsafe rate among kept images: from draws of the scan where there are any."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from nsfw_app.datasets.filtering import BINS, Criteria, FilterCounts
from nsfw_app.datasets.unsafe_rate import RateSource, UnsafeRate, unsafe_rate
from nsfw_app.evidence.population import Population
from nsfw_app.evidence.sample import NOT_REVIEWED, SAFE, UNSAFE, Sample
from nsfw_app.records import Label, Policy
from nsfw_app.store.scan_draws import ScanDraw

POLICY = Policy(0.5, 0.2, 0.8)
REPEATS = 300


def arrived(*labels: int) -> Population:
    """Images that arrived, with scores of 0.1."""
    count = len(labels)
    times = np.zeros(count, "datetime64[s]")
    scores = np.full(count, 0.1)
    sample = Sample(scores, np.ones(count), np.array(labels, np.int8))
    names = np.full(count, "api", object)
    return Population(sample, np.arange(count), times, scores, times, 0, names)


def draw(number: int, score: float, label: Label | None, probability: float = 0.5) -> ScanDraw:
    """An image that was drawn."""
    return ScanDraw(f"{number:064x}", score, probability, label, provisional=False)


def estimate(
    draws: Sequence[ScanDraw],
    kept: Sequence[float],
    rows: Mapping[str, int] | None = None,
    *,
    population: Population | None = None,
    is_unique: bool = False,
) -> UnsafeRate | None:
    """The rate among kept rows with these scores; each draw has one row by default."""
    counts = FilterCounts(estimated_scores=np.histogram(kept, BINS, (0, 1))[0].tolist())
    counts.drawn = Counter(rows or {each.image_sha256: 1 for each in draws})
    criteria = Criteria(policy=POLICY, is_unique=is_unique)
    return unsafe_rate(criteria, counts, draws, arrived() if population is None else population)


def test_the_interval_covers_the_rate_of_the_kept_rows() -> None:
    """In 95 % of draws, within what chance allows.

    Unsafe images have more copies than others, and images of one kind, which are unsafe more often,
    were drawn a second time at a higher rate.
    """
    rng = np.random.default_rng(3)
    scores = rng.beta(1, 12, 4_000)
    of_kind = rng.random(4_000) < 0.3
    unsafe = rng.random(4_000) < scores * np.where(of_kind, 1, 0.5)
    probabilities = np.where(of_kind, 0.2, 0.05)
    copies = np.where(unsafe, 3, 1)
    kept = np.repeat(scores, copies)
    true_rate = float(np.average(unsafe, weights=copies))
    covering, values, plain = 0, [], []
    for seed in range(REPEATS):
        order = np.flatnonzero(np.random.default_rng(seed).random(4_000) < probabilities)
        draws = [
            draw(
                i,
                float(scores[i]),
                Label.NSFW if unsafe[i] else Label.NORMAL,
                float(probabilities[i]),
            )
            for i in order.tolist()
        ]
        rows = {each.image_sha256: int(copies[int(each.image_sha256, 16)]) for each in draws}
        found = estimate(draws, kept.tolist(), rows)
        assert found is not None
        assert found.source is RateSource.SCAN
        assert found.rate.rate.value is not None
        covering += found.rate.rate.lower <= true_rate <= found.rate.rate.upper
        values.append(found.rate.rate.value)
        plain.append(float(unsafe[order].mean()))
    assert covering / REPEATS >= 0.92
    assert np.mean(values) == pytest.approx(true_rate, abs=0.01)
    assert np.mean(plain) < 0.6 * true_rate  # what it would be without the copies


def test_rows_count_over_the_draw_probability() -> None:
    """By hand: three rows of an unsafe image, one of a safe one that was drawn half as often."""
    draws = [draw(1, 0.01, Label.NSFW, 0.5), draw(2, 0.02, Label.NORMAL, 0.25)]
    rows = {draws[0].image_sha256: 3, draws[1].image_sha256: 1}
    found = estimate(draws, [0.01, 0.02], rows)
    assert found is not None
    assert found.rate.rate.value == pytest.approx(6 / 10)
    unique = estimate(draws, [0.01, 0.02], rows, is_unique=True)
    assert unique is not None
    assert unique.rate.rate.value == pytest.approx(2 / 6)


def test_only_kept_images_count() -> None:
    """Neither those that the filter drops now, nor those that were kept and not written."""
    draws = [draw(number, 0.01, Label.NORMAL) for number in range(4)]
    rows = {draws[0].image_sha256: 1, draws[1].image_sha256: 0}
    found = estimate(draws, [0.01], rows)
    assert found is not None
    assert found.rate.rate.reviews == 1


def test_undecided_draws_are_counted() -> None:
    """They have no label, and no estimate is made of them alone."""
    draws = [draw(1, 0.01, None), draw(2, 0.01, Label.NORMAL), draw(3, 0.01, None)]
    found = estimate(draws, [0.01])
    assert found is not None
    assert (found.undecided, found.rate.rate.reviews) == (2, 1)
    assert estimate(draws[:1], [0.01]) is None


def test_images_that_reviewers_are_unsure_about_are_counted_apart() -> None:
    """They have a decision; how unsafe the kept images are if all of them are unsafe is known."""
    decided = [draw(number, 0.01, Label.NORMAL) for number in range(20)]
    unsure = [replace(draw(number, 0.01, None), unsure=True) for number in (20, 21)]
    found = estimate([*decided, *unsure, draw(22, 0.01, None)], [0.01] * 99)
    assert found is not None
    assert (found.undecided, found.unsure) == (1, 2)
    as_unsafe = [replace(each, label=Label.NSFW, unsure=False) for each in unsure]
    worst = estimate([*decided, *as_unsafe], [0.01] * 99)
    assert worst is not None
    assert found.upper_with_unsure == worst.rate.rate.upper > found.rate.rate.upper
    assert (worst.unsure, worst.upper_with_unsure) == (0, None)


def test_arrivals_count_where_no_draw_does() -> None:
    """The estimate says which images were reviewed."""
    population = arrived(UNSAFE, SAFE, NOT_REVIEWED)
    found = estimate([], [0.1], population=population)
    assert found is not None
    assert (found.source, found.rate.rate.value) == (RateSource.ARRIVALS, 0.5)
    assert (found.undecided, found.unsure) == (1, None)
    drawn = estimate([draw(1, 0.1, Label.NORMAL)], [0.1], population=population)
    assert drawn is not None
    assert (drawn.source, drawn.rate.rate.value) == (RateSource.SCAN, 0.0)
