"""Recent images and the reference: which period that is, false alarms, and the series of plots."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from nsfw_app.evidence.comparison import Comparison, compare
from nsfw_app.evidence.population import Population
from nsfw_app.evidence.sample import Sample
from nsfw_app.records import Policy
from nsfw_app.store.references import AcceptedReference
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


def drifting(*, from_day: float, again_from: float = DAYS) -> Population:
    """Scores are higher from a day on, and still higher from another one on."""
    sample = stream(np.random.default_rng(2), 20_000)
    days = np.arange(20_000) * DAYS / 20_000
    power = np.where(days >= again_from, 0.25, np.where(days >= from_day, 0.5, 1.0))
    scores = sample.scores**power
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


def accept(number: float) -> AcceptedReference:
    """The images until a day, accepted."""
    return AcceptedReference(day(number).isoformat(), "root", "test")


@pytest.mark.parametrize("saved", [[], [day(9)], [day(9), day(12)]])
def test_accepted_images_end_the_alarm(saved: list[datetime]) -> None:
    """Later ones are compared with those since the change was shown, after a new policy, too."""
    history = drifting(from_day=10)
    assert compare(history, POLICY, saved).alarm
    found = compare(history, POLICY, saved, [accept(14)])
    assert (found.accepted, reference_ends(found)) == (accept(14), day(14) + timedelta(seconds=1))
    assert 3_500 < found.scores.reference < 4_000
    assert sum(found.reference_scores) == found.scores.reference
    assert not found.alarm
    later = compare(history, POLICY, [*saved, day(16)], [accept(14)])
    assert reference_ends(later) == day(16)
    assert 5_500 < later.scores.reference < 6_000
    assert not later.alarm


def test_images_that_change_again_raise_the_alarm_again() -> None:
    """A policy that is saved then does not end it; accepting them again does."""
    history = drifting(from_day=10, again_from=17)
    for saved in ([], [day(18)]):
        found = compare(history, POLICY, saved, [accept(14)])
        assert reference_ends(found) == day(14) + timedelta(seconds=1)
        assert found.scores.shown
    again = compare(history, POLICY, [], [accept(14), accept(19)])
    assert (again.accepted, again.alarm) == (accept(19), False)
    assert 1_000 < again.scores.reference < 2_000


def test_more_disagreements_can_be_accepted() -> None:
    """They are compared with those since the alarm, and scores with those of all times."""
    history = reviewed(1, review_from=0.2, worse_from=0.6)
    found = compare(history, POLICY, [day(10)], [accept(16)])
    assert (found.accepted, found.alarm) == (accept(16), False)
    assert 100 <= found.disagreements.reference < 0.25 * len(history.sample_times)
    assert found.scores.reference == pytest.approx(32_000, abs=5)


def test_nearly_no_images_cannot_be_the_reference() -> None:
    """Neither those of this model and source before the acceptance, nor those after the alarm."""
    history = drifting(from_day=10)
    found = compare(history, POLICY, [], [accept(0.01)])
    assert found.accepted is None
    assert reference_ends(found) == day(7)
    assert found.alarm
    few = compare(history, POLICY, [], [accept(10.32)])
    assert few.scores.reference > 10_000  # all, so that the alarm is raised again
    assert few.alarm


def test_images_of_the_second_of_acceptance_are_accepted() -> None:
    """Times of arrivals are whole seconds, and that of the acceptance is not."""
    last = START + timedelta(seconds=DAYS * 86_400 - 1, milliseconds=500)
    accepted = AcceptedReference(last.isoformat(), "root", "test")
    found = compare(drifting(from_day=DAYS), POLICY, [], [accepted])
    assert (found.scores.reference, found.scores.recent) == (20_000, 0)


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
