"""Summaries of the evidence: the first sentence, the curves, drift, and what is kept."""

from datetime import UTC, datetime

import numpy as np
import pytest

from nsfw_app.evidence.population import Population
from nsfw_app.evidence.sample import NOT_REVIEWED, Sample
from nsfw_app.evidence.summary import Summary, headline, summarize
from nsfw_app.records import Policy
from nsfw_app.rules.audit_plan import AuditPlan
from tests.support.streams import stream, true_recall

POLICY = Policy(0.5, 0.2, 0.8)
START = np.datetime64("2026-01-01T00:00:00", "s")
PERIOD = "in the last 30 days"


def population(sample: Sample, *, days: float = 10, never_drawn: int = 0) -> Population:
    """Images that arrived evenly within some days."""
    seconds = np.linspace(0, days * 86_400, len(sample)).astype("timedelta64[s]")
    scores = np.concatenate([sample.scores, np.full(never_drawn, 0.01)])
    times = np.concatenate([START + seconds, np.full(never_drawn, START)])
    ids = np.arange(len(sample)) + 1
    sources = np.full(len(sample), "api", object)
    return Population(sample, ids, START + seconds, scores, times, never_drawn, sources)


def summary_of(found: Population, *, until: datetime | None = None) -> Summary:
    """The summary under the policy, with an audit rate of 5 %."""
    return summarize(found, POLICY, AuditPlan(0.05), saved=[until] if until else [])


@pytest.fixture(scope="module")
def summary() -> Summary:
    """The summary of the reference stream."""
    return summary_of(population(stream(np.random.default_rng(1), 30_000)))


def test_the_first_sentence_has_counts_and_intervals(summary: Summary) -> None:
    """It says how many unsafe images were allowed, the recall, and from how many reviews."""
    missed, recall = summary.allowed.missed, summary.allowed.recall
    assert headline(summary, period=PERIOD) == (
        f"Of 30,000 images in the last 30 days about {missed.value:.0f} unsafe ones were allowed "
        f"({missed.lower:.0f} to {missed.upper:.0f}). Recall {100 * recall.value:.1f} % "
        f"({100 * recall.lower:.1f} to {100 * recall.upper:.1f}), from "
        f"{summary.reviews:,} sampled reviews."
    )
    assert recall.lower <= true_recall(0.2) <= recall.upper


def test_the_first_sentence_does_not_blame_a_policy_for_earlier_images() -> None:
    """Of images that arrived under another policy it says what the present one would allow."""
    found = population(stream(np.random.default_rng(1), 2_000), days=10)
    before, during = datetime(2025, 12, 31, tzinfo=UTC), datetime(2026, 1, 5, tzinfo=UTC)
    assert " unsafe ones were allowed (" in headline(summary_of(found, until=before), period=PERIOD)
    assert " unsafe ones would be allowed by the policy in force (" in headline(
        summary_of(found, until=during), period=PERIOD
    )


def test_the_first_sentence_says_what_is_missing() -> None:
    """Without images, draws, reviews, or unsafe ones among them, it says so."""
    few = np.full(3, 0.1)
    never = population(Sample(np.array([]), np.array([]), np.array([])), never_drawn=2)
    waiting = Sample(few, few, np.full(3, NOT_REVIEWED), np.array([True, False, False]))
    safe = Sample(few, few, np.zeros(3))
    empty = Sample(np.array([]), np.array([]), np.array([]))
    for found, words in (
        (population(empty), "No image arrived in the last 30 days."),
        (never, "Of 2 images in the last 30 days nothing is known: none of them could be drawn"),
        (population(waiting), "none of them is reviewed and settled; 1 wait"),
        (population(safe), "none of the 3 sampled reviews is unsafe"),
    ):
        assert words in headline(summary_of(found), period=PERIOD)


def test_curves_hold_every_threshold(summary: Summary) -> None:
    """Recall and its bound fall, the estimates are those of one threshold, the counts add up."""
    curve = summary.curve
    assert curve.thresholds == [n / 100 for n in range(101)]
    assert curve.recall[20] == summary.allowed.recall
    assert curve.precision[50] == summary.labeled.precision
    assert np.all(np.diff([point.value for point in curve.recall]) <= 0)
    assert np.all(np.diff(curve.bounds) <= 0)
    assert curve.bounds[20] > 0.9
    assert all(b <= point.upper for b, point in zip(curve.bounds, curve.recall, strict=True))
    assert sum(curve.images) == summary.images == 30_000
    assert sum(curve.audits) == pytest.approx(0.05 * 30_000)
    assert summary.days == pytest.approx(10)


def test_days_differ_by_chance_or_by_more() -> None:
    """Variance over mean of whole days: about 1 by chance, higher with busy days."""
    rng = np.random.default_rng(4)

    def dispersion(per_day: list[int]) -> float | None:
        days = [START + np.timedelta64(day, "D") for day in range(len(per_day))]
        seconds = [np.sort(rng.integers(0, 86_400, n)).astype("timedelta64[s]") for n in per_day]
        times = np.concatenate([day + each for day, each in zip(days, seconds, strict=True)])
        few = np.full(len(times), 0.1)
        sample = Sample(few, few, np.full(len(times), NOT_REVIEWED))
        sources = np.full(len(times), "api", object)
        return Population(sample, few, times, few, times, 0, sources).dispersion

    by_chance = dispersion(rng.poisson(400, 90).tolist())
    busy = dispersion([400, 100] * 45)
    assert by_chance is not None
    assert busy is not None
    assert 0.6 < by_chance < 1.6
    assert 60 < busy < 110
    assert dispersion([400] * 7) is None


def test_the_histogram_estimates_all_images(summary: Summary) -> None:
    """Weighted reviews add up to about the images; their numbers are given, too."""
    histogram = summary.histogram
    assert sum(histogram.unsafe) + sum(histogram.safe) == pytest.approx(30_000, rel=0.05)
    assert sum(histogram.unsafe) == pytest.approx(0.06 * 30_000, rel=0.2)
    assert sum(histogram.reviews) == summary.reviews


def test_calibrated_probabilities_are_reliable(summary: Summary) -> None:
    """The share of unsafe images is near the calibrated probability, and not near the score."""
    assert summary.calibration is not None

    def distance(points) -> float:
        return max(abs(point.probability - point.unsafe.value) for point in points)

    assert distance(summary.reliability_calibrated) < 0.2 < distance(summary.reliability)


def test_drift_since_the_policy_is_found() -> None:
    """Images after the policy was saved are compared with those before it."""
    rng = np.random.default_rng(2)
    sample = stream(rng, 20_000)
    changed = np.arange(20_000) >= 10_000
    scores = np.where(changed, np.sqrt(sample.scores), sample.scores)
    drifting = population(Sample(scores, sample.probabilities, sample.labels))
    saved = datetime(2026, 1, 6, tzinfo=UTC)
    assert summary_of(drifting, until=saved).comparison.scores.shown
    steady = summary_of(population(sample), until=saved).comparison
    assert not steady.scores.shown
    assert not steady.disagreements.shown


def test_bounds_and_drift_are_of_all_images() -> None:
    """A period that is a part changes the estimates, not what must hold at any time."""
    sample = stream(np.random.default_rng(3), 30_000)
    history = population(sample)
    part = np.arange(30_000) >= 25_000
    period = Population(
        sample.subset(part),
        history.prediction_ids[part],
        history.sample_times[part],
        history.scores[part],
        history.times[part],
        0,
        history.sample_sources[part],
    )
    saved = datetime(2026, 1, 6, tzinfo=UTC)
    found = summarize(period, POLICY, AuditPlan(0.05), saved=[saved], history=history)
    whole = summary_of(history, until=saved)
    assert found.images == 5_000
    assert found.allowed != whole.allowed
    assert found.curve.bounds == whole.curve.bounds
    assert max(found.curve.bounds) > max(summary_of(period).curve.bounds)
    assert found.more_reviews == whole.more_reviews
    assert found.comparison == whole.comparison
    assert found.comparison.scores.compared
    assert (found.bounds_images, found.bounds_reviews) == (30_000, whole.reviews)
