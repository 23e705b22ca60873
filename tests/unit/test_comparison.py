"""Recent images and the reference: which period that is, false alarms, and the series of plots."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from nsfw_app.evidence.comparison import Comparison, compare
from nsfw_app.evidence.population import Population
from nsfw_app.evidence.sample import Sample
from nsfw_app.records import Policy
from tests.support.streams import drawn, everything, stream

POLICY = Policy(0.5, 0.2, 0.8)
START = datetime(2026, 1, 5, tzinfo=UTC)  # a Monday
DAYS = 20


def population(sample: Sample) -> Population:
    """Images that arrived evenly within `DAYS` days."""
    start = np.datetime64(START.replace(tzinfo=None), "s")
    seconds = np.linspace(0, DAYS * 86_400 - 1, len(sample)).astype("timedelta64[s]")
    times = start + seconds
    sources = np.full(len(sample), "api", object)
    return Population(sample, np.arange(len(sample)), times, sample.scores, times, 0, sources)


def day(number: float) -> datetime:
    """When a day of the stream begins."""
    return START + timedelta(days=number)


def reviewed(
    seed: int, *, review_from: float, images: int = 40_000, worse_from: float = 1.0
) -> Population:
    """Images of which the later half has another band, and mistakes from a share on."""
    rng = np.random.default_rng(seed)
    whole = stream(rng, images, everything)
    later = np.arange(images) >= images // 2
    lower = np.where(later, review_from, 0.2)
    probabilities = np.where((whole.scores >= lower) & (whole.scores < 0.8), 1.0, 0.05)
    unsafe = whole.labels == 1
    mistaken = (np.arange(images) >= worse_from * images) & (rng.random(images) < 0.3)
    sample = drawn(rng, whole.scores, unsafe ^ mistaken, lambda _: probabilities)
    return population(sample)


@pytest.mark.parametrize("review_from", [0.2, 0.32, 0.45, 0.1])
def test_another_band_is_no_disagreement(review_from: float) -> None:
    """A new policy's band changes what is reviewed, not how often reviewers and model differ."""
    policy = Policy(0.5, review_from, 0.8)
    for seed in range(20):
        found = compare(reviewed(seed, review_from=review_from), policy, [day(DAYS / 2)])
        assert found.disagreements.compared
        assert not found.disagreements.shown, seed
        assert not found.scores.shown, seed


@pytest.mark.parametrize("review_from", [0.2, 0.4])
def test_more_disagreements_are_found(review_from: float) -> None:
    """A model that errs more often raises the alarm, with another band, too."""
    history = reviewed(1, review_from=review_from, worse_from=0.6)
    found = compare(history, Policy(0.5, review_from, 0.8), [day(DAYS / 2)])
    assert found.disagreements.shown
    assert not found.scores.shown


def drifting(*, from_day: float) -> Population:
    """Scores are higher from a day on."""
    sample = stream(np.random.default_rng(2), 20_000)
    later = np.arange(20_000) >= from_day / DAYS * 20_000
    scores = np.where(later, np.sqrt(sample.scores), sample.scores)
    return population(Sample(scores, sample.probabilities, sample.labels))


def reference_ends(found: Comparison) -> datetime:
    """When the reference ends."""
    assert found.reference_until is not None
    return datetime.fromisoformat(found.reference_until)


def test_saving_a_policy_moves_the_reference() -> None:
    """Without an alarm, all that arrived before becomes its evidence."""
    history = population(stream(np.random.default_rng(3), 20_000))
    found = compare(history, POLICY, [day(5), day(15)])
    assert reference_ends(found) == day(15)
    assert (found.scores.reference, found.scores.recent) == (15_000, 5_000)
    assert not found.scores.shown


def test_saving_a_policy_does_not_end_an_alarm() -> None:
    """While an alarm is raised, a new policy leaves the reference as it was."""
    history = drifting(from_day=10)
    for saved in ([day(9)], [day(9), day(14)], [day(9), day(14), day(18)]):
        found = compare(history, POLICY, saved)
        assert reference_ends(found) == day(9)
        assert found.scores.shown


def test_without_a_policy_the_first_week_is_the_reference() -> None:
    """Also if one was saved before nearly all images."""
    for saved in ([], [day(-3)], [day(0.01)]):
        found = compare(drifting(from_day=10), POLICY, saved)
        assert reference_ends(found) == day(7)
        assert found.scores.shown
    early = compare(drifting(from_day=10), POLICY, [day(4)])
    assert reference_ends(early) == day(4)


def test_nothing_is_compared_without_images() -> None:
    """An empty history has no reference and no series."""
    nothing = np.array([])
    found = compare(population(Sample(nothing, nothing, nothing)), POLICY, [day(1)])
    assert (found.reference_until, found.week_start, found.weeks) == (None, None, [])
    assert not found.scores.compared


def test_series_for_plots() -> None:
    """Scores of this week and of the reference, and the disagreements of each week."""
    found = compare(reviewed(4, review_from=0.3, worse_from=0.7), POLICY, [day(10)])
    assert sum(found.reference_scores) == 20_000
    assert sum(found.week_scores) == pytest.approx(14_000, abs=5)
    assert found.week_start == "2026-01-17T23:59:59Z"
    assert [week.start for week in found.weeks] == ["2026-01-05", "2026-01-12", "2026-01-19"]
    rates = [week.disagreements for week in found.weeks]
    assert rates[0].upper < rates[2].lower
    assert all(rate.reviews > 100 for rate in rates)
    assert (found.certain_from, found.certain_to) == pytest.approx((0.3, 0.8), abs=0.01)
