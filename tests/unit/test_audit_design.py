"""Proposed audit rates: they certify about when they say, with fewer reviews than other plans."""

import numpy as np
import pytest
from scipy.stats import beta

from nsfw_app.evidence.audit_design import LEAST_WITHOUT_IMAGES, AuditProposal, propose_audits
from nsfw_app.evidence.audit_forecast import _days
from nsfw_app.evidence.guarantee import certify_threshold
from nsfw_app.records import Policy
from nsfw_app.rules.audit_plan import AuditPlan
from tests.support.streams import (
    PREVALENCE,
    SAFE_SCORES,
    UNSAFE_SCORES,
    Plan,
    band_and_audits,
    first_images,
    joined,
    stream,
)

BAND = Policy(0.5, 0.2, 0.8)
TARGET = {"recall": 0.95, "confidence": 0.9}


def scores_and_risks(images: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Scores of the reference stream, and the true probability that each image is unsafe."""
    scores = stream(np.random.default_rng(0), images).scores
    unsafe = PREVALENCE * beta.pdf(scores, *UNSAFE_SCORES)
    return scores, unsafe / (unsafe + (1 - PREVALENCE) * beta.pdf(scores, *SAFE_SCORES))


def reviewed_by(plan: AuditPlan) -> Plan:
    """The probabilities of a plan with the band reviewed whole."""

    def probabilities(scores: np.ndarray) -> np.ndarray:
        rates = np.array([plan.rate(score) for score in scores])
        return np.where((scores >= BAND.review_from) & (scores < BAND.review_to), 1.0, rates)

    return probabilities


def reviews_needed(plan: Plan, seed: int) -> int:
    """How many reviews of the reference stream certify 0.2, looking every 1,000 images."""
    sample = stream(np.random.default_rng(seed), 60_000, plan)
    for images in range(1000, 60_001, 1000):
        seen = sample.subset(np.arange(len(sample)) < images)
        if certify_threshold(seen, candidates=np.array([0.2]), **TARGET).threshold is not None:
            return seen.reviews
    return sample.reviews


def test_the_proposed_plan_needs_about_what_it_says() -> None:
    """Half to one and a half times the forecast, and fewer reviews than 5 % everywhere."""
    proposal = propose_audits(*scores_and_risks(), BAND, images_a_day=5000, **TARGET)
    assert proposal.plan is not None
    assert proposal.reviews is not None
    plan = reviewed_by(proposal.plan)
    needed = np.median([reviews_needed(plan, seed) for seed in range(6)])
    assert 0.5 * proposal.reviews <= needed <= 1.5 * proposal.reviews
    assert needed < np.median([reviews_needed(band_and_audits, seed) for seed in range(6)])
    assert proposal.expected_recall == pytest.approx(0.993, abs=0.002)
    assert proposal.days == pytest.approx(proposal.reviews / proposal.reviews_a_day, rel=0.01)


def test_the_work_of_a_day_is_a_limit() -> None:
    """A plan keeps to it; where no plan can, there is none."""
    scores, risks = scores_and_risks()
    free = propose_audits(scores, risks, BAND, images_a_day=5000, **TARGET)
    limited = propose_audits(
        scores, risks, BAND, images_a_day=5000, max_reviews_a_day=800, **TARGET
    )
    assert free.reviews_a_day > 800 >= limited.reviews_a_day
    assert limited.days > free.days
    impossible = propose_audits(
        scores, risks, BAND, images_a_day=5000, max_reviews_a_day=10, **TARGET
    )
    assert impossible.plan is None


def test_nothing_is_proposed_for_a_model_below_the_target() -> None:
    """The expected recall is said, and no plan."""
    scores, risks = scores_and_risks()
    found = propose_audits(scores, np.where(scores < 0.2, 0.02, risks), BAND, **TARGET)
    assert found == AuditProposal(0.2, found.expected_recall, None, None, None, None)
    assert found.expected_recall < 0.95
    empty = propose_audits(np.array([]), np.array([]), BAND, **TARGET)
    assert empty.plan is None


def without(lower: float, upper: float) -> tuple[np.ndarray, np.ndarray]:
    """The reference stream without the images of a range of scores."""
    scores, risks = scores_and_risks()
    kept = (scores < lower) | (scores >= upper)
    return scores[kept], risks[kept]


@pytest.mark.parametrize("empty", [(0.0, 0.05), (0.05, 0.2), (0.8, 1.01)])
def test_a_range_without_images_has_the_rate_of_its_neighbor(empty: tuple[float, float]) -> None:
    """At least 5 %, and never less than the smallest rate: images that come later slow no bet."""
    proposal = propose_audits(*without(*empty), BAND, images_a_day=5000, **TARGET)
    (assumed,) = proposal.assumed
    assert (assumed.lower, assumed.upper) == (empty[0], min(empty[1], 1.0))
    known = [each.rate for each in proposal.plan.ranges if each != assumed]
    nearest = known[0] if assumed.lower < 0.8 else known[-1]
    assert assumed.rate == max(nearest, LEAST_WITHOUT_IMAGES) >= min(known)


def test_ranges_with_images_assume_nothing() -> None:
    """All rates are computed."""
    assert propose_audits(*scores_and_risks(), BAND, **TARGET).assumed == ()


def test_a_band_without_images_around_it() -> None:
    """Where all images are of the band, other ranges have the least rate; a band may begin at 0."""
    scores, risks = np.array([0.25, 0.5, 0.75]), np.array([0.001, 0.5, 0.9])
    for band in (BAND, Policy(0.5, 0.0, 0.8)):
        found = propose_audits(scores, risks, band, **TARGET)
        assert found.assumed == found.plan.ranges
        assert {each.rate for each in found.assumed} == {LEAST_WITHOUT_IMAGES}


def test_all_images_may_be_reviewed() -> None:
    """Where nearly all images are in the band, the others are reviewed whole, too."""
    scores = np.random.default_rng(0).choice([0.1, 0.5, 0.9], 2000, p=[0.1, 0.85, 0.05])
    risks = np.select([scores < 0.2, scores < 0.8], [0.0001, 0.05], 0.9)
    found = propose_audits(scores, risks, BAND, images_a_day=100, **TARGET)
    assert found.plan is not None
    assert 1.0 in {part.rate for part in found.plan.ranges}


@pytest.mark.parametrize("rate", [0.002, 0.02])
def test_lower_rates_before_are_taken_into_account(rate: float) -> None:
    """After 5,000 images with few audits, the plan certifies in most runs when it says.

    In every run it does within twice the time.
    """
    policy = {"images_a_day": 1000, **TARGET}
    scores, risks = scores_and_risks(5_000)
    rates = np.where((scores >= BAND.review_from) & (scores < BAND.review_to), 1.0, rate)
    proposal = propose_audits(scores, risks, BAND, rates_before=rates, **policy)
    assert proposal.plan is not None
    assert proposal.days is not None
    assert proposal.days > propose_audits(scores, risks, BAND, **policy).days
    images, certified = 5_000 + round(1000 * proposal.days), []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        before = stream(rng, 5_000, lambda s: np.where((s >= 0.2) & (s < 0.8), 1.0, rate))
        sample = joined(before, stream(rng, 2 * images, reviewed_by(proposal.plan)))
        certified.append(
            [
                certify_threshold(
                    first_images(sample, count), candidates=np.array([0.2]), **TARGET
                ).threshold
                is not None
                for count in (images, 2 * images)
            ]
        )
    in_time, late = np.mean(certified, axis=0)
    assert in_time >= 0.5
    assert late == 1


def test_the_time_is_said_in_days() -> None:
    """Never as 0 days."""
    assert [_days(days) for days in (0.2, 1.2, 5.3)] == [
        "less than a day",
        "about a day",
        "about 5 days",
    ]
