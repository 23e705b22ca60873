"""Wrong labels of the model by reason, source and day, estimated from a sample."""

import numpy as np
import pytest

from nsfw_app.evidence.decision_counts import NO_REASON
from nsfw_app.evidence.errors import estimate_errors
from nsfw_app.evidence.estimates import estimate
from nsfw_app.evidence.summaries import EvidenceQuery, Summaries
from nsfw_app.models.equivalence import EquivalentBackends
from nsfw_app.records import Label, Policy, Reason
from nsfw_app.review.policies import PolicyBook
from nsfw_app.rules.audit_plan import AuditPlan
from nsfw_app.rules.queue import QueueReason, QueueRules
from nsfw_app.store import Store
from tests.support.arrivals import AUDIT, REVIEW, add_reviewed, arrive, decide
from tests.support.sample_records import FAKE, answer, person
from tests.unit.test_population import NEVER, NOT_DRAWN

POLICY = Policy(0.5, 0.2, 0.8)


@pytest.fixture
def summaries(store: Store) -> Summaries:
    """Summaries over a store in which every rule is on."""
    store.queue.rules = QueueRules(frozenset(QueueReason), AuditPlan(0.1))
    return Summaries(store, PolicyBook(store.policies), EquivalentBackends(None))


def decide_because(store: Store, sha256: str, label: Label, *reasons: Reason) -> None:
    """Record the same decision of two reviewers with reasons, which settles the image."""
    for reviewer in ("ann", "bob"):
        made = answer(f"{sha256[-8:]} {reviewer}", label, image_sha256=sha256, reasons=reasons)
        store.log.add(made, person(reviewer, owner="local"))


def test_a_review_counts_with_its_inverse_probability(summaries: Summaries, store: Store) -> None:
    """One audit at 10 % weighs as ten reviews of the band; groups count all that could be drawn."""
    decide(store, arrive(store, 0.7, REVIEW), Label.NSFW)
    decide_because(store, arrive(store, 0.1, AUDIT, source="gallery"), Label.NSFW)
    decide(store, arrive(store, 0.6, REVIEW, source="gallery"), Label.NSFW)
    arrive(store, 0.1, NOT_DRAWN, source="gallery")
    arrive(store, 0.1, NEVER, source="gallery")
    found = estimate_errors(
        summaries.population(FAKE), POLICY, summaries.decisions(FAKE), confidence=0.95
    )
    gallery, api = found.sources
    assert (gallery.name, gallery.images, gallery.reviews) == ("gallery", 3, 2)
    assert gallery.wrong.value == gallery.false_negatives.value == pytest.approx(10 / 11)
    assert gallery.false_positives.value == 0
    assert (api.name, api.images, api.wrong.value, api.wrong.reviews) == ("api", 1, 0, 1)
    (day,) = found.days
    assert (day.images, day.wrong.value) == (4, pytest.approx(10 / 12))


def test_reasons_are_those_of_decisions_with_the_settled_label(
    summaries: Summaries, store: Store
) -> None:
    """An image counts for each of its reasons; what differs without a reason is counted, too."""
    decide_because(store, arrive(store, 0.6, REVIEW), Label.NORMAL, Reason.ART, Reason.MEDICAL)
    decide_because(store, arrive(store, 0.9, AUDIT), Label.NORMAL, Reason.ART)
    decide_because(store, arrive(store, 0.3, REVIEW), Label.NSFW)
    right = arrive(store, 0.7, REVIEW)
    decide_because(store, right, Label.NSFW, Reason.NUDITY)
    found = estimate_errors(
        summaries.population(FAKE), POLICY, summaries.decisions(FAKE), confidence=0.95
    )
    assert [(each.name, each.found) for each in found.reasons] == [
        ("art", 2),
        (NO_REASON, 1),
        ("medical", 1),
    ]
    art, without, _ = (each.images for each in found.reasons)
    assert art.value == pytest.approx(4 * 11 / 13)
    assert without.value == pytest.approx(4 * 1 / 13)
    assert without.lower < without.value < without.upper
    assert art.reviews == 4


def test_groups_add_up_to_the_estimates_of_all(summaries: Summaries, store: Store) -> None:
    """All of one source: its shares are those that the estimates of all images give."""
    add_reviewed(store)
    population = summaries.population(FAKE)
    (source,) = estimate_errors(
        population, POLICY, summaries.decisions(FAKE), confidence=0.95
    ).sources
    whole = estimate(population.sample, threshold=POLICY.threshold)
    assert source.false_negatives.value == pytest.approx(whole.missed.value / len(population))
    # The interval of a group is that of its effective number of reviews, without strata.
    upper = whole.missed.upper / len(population)
    assert source.false_negatives.upper == pytest.approx(upper, rel=0.2)
    false_positives = whole.false_positive_rate.value * (1 - whole.prevalence.value)
    assert source.false_positives.value == pytest.approx(false_positives)
    assert np.isclose(
        source.wrong.value, source.false_negatives.value + source.false_positives.value
    )


def test_a_summary_has_both_estimates_and_counts(summaries: Summaries, store: Store) -> None:
    """Estimates are of drawn images, counts of all decisions of the period."""
    decide(store, arrive(store, 0.7, REVIEW), Label.NSFW)
    decide(store, arrive(store, 0.9, NOT_DRAWN), Label.NSFW, "bob")
    found = summaries.get(EvidenceQuery(FAKE, days=7))
    assert found.errors.sources[0].reviews == 1
    assert found.decisions.total.decisions == 2
    assert summaries.reviewers() == ["ann", "bob"]
