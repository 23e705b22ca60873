"""Proposed audit rates: they certify about when they say, with fewer reviews than other plans."""

import numpy as np
import pytest
from scipy.stats import beta

from nsfw_app.evidence.audit_design import AuditProposal, propose_audits
from nsfw_app.evidence.guarantee import certify_threshold
from nsfw_app.records import Policy
from nsfw_app.rules.audit_plan import AuditPlan
from tests.support.streams import (
    PREVALENCE,
    SAFE_SCORES,
    UNSAFE_SCORES,
    Plan,
    band_and_audits,
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


def test_ranges_without_images_are_no_obstacle() -> None:
    """A range in which no image arrived costs nothing, and a band may begin at 0."""
    scores = np.array([0.15, 0.5, 0.9])
    for band in (BAND, Policy(0.5, 0.0, 0.8)):
        assert propose_audits(scores, np.array([0.001, 0.5, 0.9]), band, **TARGET).plan is not None
