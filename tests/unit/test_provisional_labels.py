"""Images that wait for a second decision: estimates count them, certificates take the worst case.

A first decision against the model waits, and one that agrees settles, as by the default settings.
"""

import numpy as np
import pytest

from nsfw_app.evidence.comparison import compare
from nsfw_app.evidence.errors import NOT_SETTLED, estimate_errors
from nsfw_app.evidence.estimates import estimate
from nsfw_app.evidence.kept_rate import kept_rate
from nsfw_app.evidence.population import ArrivedImages, Population
from nsfw_app.evidence.sample import NOT_REVIEWED, Sample
from nsfw_app.evidence.summaries import EvidenceQuery, Summaries
from nsfw_app.evidence.summary import headline
from nsfw_app.evidence.summary_json import summary_json, warnings
from nsfw_app.models.equivalence import EquivalentBackends
from nsfw_app.records import Label, Policy
from nsfw_app.review.policies import PolicyBook
from nsfw_app.rules.audit_plan import AuditPlan
from nsfw_app.rules.queue import QueueReason, QueueRules
from nsfw_app.store import Store
from tests.support.arrivals import REVIEW, Truth, arrive, arrive_all, decide, review_drawn
from tests.support.sample_records import FAKE
from tests.support.streams import drawn
from tests.unit.test_comparison import day, population
from tests.unit.test_population import ALL, NOT_DRAWN

POLICY = Policy(0.5, 0.2, 0.8)


@pytest.fixture
def arriving(store: Store) -> Store:
    """A store in which every rule is on."""
    store.queue.rules = QueueRules(frozenset(QueueReason), AuditPlan(0.1))
    return store


@pytest.fixture
def disputed(arriving: Store) -> tuple[Store, np.ndarray]:
    """300 images, each decided as it is by one reviewer; in order, whether each is unsafe."""
    rng = np.random.default_rng(5)
    unsafe = rng.random(300) < 0.4
    scores = np.where(unsafe, rng.beta(1.5, 0.9, 300), rng.beta(0.5, 3, 300))
    hashes = [f"{number:064x}" for number in range(300)]
    truth = Truth(hashes, scores, unsafe, np.ones(300, bool))
    rules = arriving.queue.rules
    arrive_all(arriving, truth, FAKE)
    arriving.queue.rules = rules
    review_drawn(arriving, truth, FAKE)
    return arriving, unsafe


def _summaries(store: Store) -> Summaries:
    return Summaries(store, PolicyBook(store.policies), EquivalentBackends(None))


def test_what_waits_has_the_label_of_most_of_its_decisions(arriving: Store) -> None:
    """At a tie it is the one that the model does not give; unsure decisions do not count."""
    images = ArrivedImages(arriving.arrivals)
    agreed, differs, tied, unsure, open_, chosen = (
        arrive(arriving, score, admission)
        for score, admission in zip(
            (0.3, 0.35, 0.7, 0.4, 0.6, 0.1), [REVIEW] * 5 + [NOT_DRAWN], strict=True
        )
    )
    assert images.select(ALL).provisional is None
    decide(arriving, agreed, Label.NORMAL)
    decide(arriving, differs, Label.NSFW)
    decide(arriving, tied, Label.NORMAL)
    decide(arriving, tied, Label.NSFW, "bob")
    decide(arriving, unsure, Label.UNSURE)
    decide(arriving, chosen, Label.NSFW)
    imported = {open_: Label.NSFW}
    arriving.label_imports.record(imported, "lab", threshold_of=lambda _: 0.5, actor="operator")
    found = images.select(ALL)
    assert found.sample.labels.tolist() == [0, -1, -1, -1, -1, -1]
    assert found.sample.unsettled.tolist() == [False, True, True, True, True, False]
    assert found.estimated.labels.tolist() == [0, 1, 0, -1, -1, -1]
    assert found.estimated.unsettled.tolist() == [False, False, False, True, True, False]
    assert found.is_provisional.tolist() == [False, True, True, False, False, False]


def test_a_tie_contradicts_the_model_that_calls_it_normal(arriving: Store) -> None:
    """It counts as a miss."""
    tied = arrive(arriving, 0.3, REVIEW)
    decide(arriving, tied, Label.NSFW)
    decide(arriving, tied, Label.NORMAL, "bob")
    assert ArrivedImages(arriving.arrivals).select(ALL).estimated.labels.tolist() == [1]


def test_provisional_labels_follow_decisions_and_undos(arriving: Store) -> None:
    """A changed, settled or undone decision is in the next look, which equals a fresh one."""
    images = ArrivedImages(arriving.arrivals)
    image = arrive(arriving, 0.3, REVIEW)

    def labels() -> tuple[list[int], list[int]]:
        found, fresh = images.select(ALL), ArrivedImages(arriving.arrivals).select(ALL)
        assert found.estimated.labels.tolist() == fresh.estimated.labels.tolist()
        assert found.sample.labels.tolist() == fresh.sample.labels.tolist()
        return found.sample.labels.tolist(), found.estimated.labels.tolist()

    first = decide(arriving, image, Label.NSFW)
    assert labels() == ([-1], [1])
    arriving.log.undo(first, reviewer="ann", nonce="undo")
    assert labels() == ([-1], [-1])
    decide(arriving, image, Label.NSFW)
    second = decide(arriving, image, Label.NSFW, "bob")
    assert labels() == ([1], [1])
    arriving.log.undo(second, reviewer="bob", nonce="undo again")
    assert labels() == ([-1], [1])
    decide(arriving, image, Label.UNSURE)
    assert labels() == ([-1], [-1])


def test_estimates_are_those_of_the_truth(disputed: tuple[Store, np.ndarray]) -> None:
    """Every number is the one that it has once all second decisions agree with the first."""
    store, unsafe = disputed
    population = _summaries(store).population(FAKE)
    sample = population.sample
    truth = Sample(sample.scores, sample.probabilities, unsafe)
    assert population.estimated.labels.tolist() == unsafe.tolist()
    assert estimate(population.estimated, threshold=0.2) == estimate(truth, threshold=0.2)
    settled = estimate(sample, threshold=0.5)
    assert settled.recall.value == 1.0  # what made the model look perfect
    assert kept_rate(population.estimated, [10] * 20) == kept_rate(truth, [10] * 20)
    provisional = population.is_provisional
    counted = kept_rate(population.estimated, [10] * 20, provisional=provisional)
    assert counted is not None
    assert counted.provisional == np.count_nonzero(provisional) > 20


def test_a_summary_counts_what_is_not_settled(disputed: tuple[Store, np.ndarray]) -> None:
    """Insights, errors and calibration are of all labels; the certificate has the worst case."""
    store, unsafe = disputed
    summaries, query = _summaries(store), EvidenceQuery(FAKE)
    dated = summaries.get(query)
    summary, population = dated.summary, summaries.population(FAKE)
    flagged = population.scores >= 0.5
    wrong = int(np.count_nonzero(flagged != unsafe))
    assert (summary.reviews, summary.provisional, summary.unsettled) == (300, wrong, wrong)
    assert (summary.certificate.reviews, summary.certificate.unsettled) == (300 - wrong, wrong)
    assert summary.labeled_reviews.false_negatives == np.count_nonzero(unsafe & ~flagged)
    assert f"from 300 sampled reviews, {wrong} of them not settled yet." in headline(
        summary, period="ever"
    )
    (said,) = warnings(summary)
    assert said.startswith(f"{wrong} of 300 reviewed images are not settled yet.")
    assert summary_json(dated, query)["provisional"] == wrong
    assert [(each.name, each.found) for each in dated.errors.reasons] == [(NOT_SETTLED, wrong)]
    assert dated.errors.sources[0].wrong.value == pytest.approx(wrong / 300)
    assert summary.calibration is not None
    assert summary.calibration.reviews == 300
    assert summary.calibration.log_loss.raw.value > 0.2  # 0.000 of settled labels alone
    assert summaries.calibrations.refit(FAKE, author="ann").reviews == 300


def test_reasons_of_what_waits_stay_hidden(disputed: tuple[Store, np.ndarray]) -> None:
    """Once it is settled, an image counts for its reasons."""
    store, unsafe = disputed
    summaries = _summaries(store)
    missed = np.flatnonzero(unsafe & (summaries.population(FAKE).scores < 0.5))
    decide(store, f"{missed[0]:064x}", Label.NSFW, "cid")
    found = estimate_errors(
        summaries.population(FAKE), POLICY, summaries.decisions(FAKE), confidence=0.95
    )
    assert {each.name for each in found.reasons} == {NOT_SETTLED, ""}


def test_disagreements_that_wait_raise_no_alarm() -> None:
    """The rate of unchanged images does not fall because the latest disagreements wait.

    Settled labels alone raise an alarm; provisional ones do in none of 20 streams.
    """
    for seed in range(20):
        rng = np.random.default_rng(seed)
        scores = rng.random(8_000)
        unsafe = rng.random(8_000) < scores
        sample = drawn(rng, scores, unsafe, lambda s: np.where((s >= 0.2) & (s < 0.8), 1.0, 0.05))
        differs = sample.reviewed & ((sample.labels == 1) != (scores >= 0.5))
        waits = differs & (np.arange(8_000) >= 4_000)
        settled = population(
            Sample(scores, sample.probabilities, np.where(waits, -1, sample.labels), waits)
        )
        whole = Population(
            settled.sample,
            settled.prediction_ids,
            settled.sample_times,
            settled.scores,
            settled.times,
            0,
            settled.sample_sources,
            np.where(waits, sample.labels, NOT_REVIEWED).astype(np.int8),
        )
        assert compare(settled, POLICY, [day(10)]).disagreements.shown, seed
        assert not compare(whole, POLICY, [day(10)]).disagreements.shown, seed
        weeks = compare(whole, POLICY, [day(10)]).weeks
        assert all(week.disagreements.value > 0.3 for week in weeks)
