"""Kept summaries: computed once, returned at once, and brought up to date."""

import threading
import time

import pytest

from nsfw_app.evidence import summaries as module
from nsfw_app.evidence.metrics import Confusion
from nsfw_app.evidence.summaries import EvidenceQuery, Summaries
from nsfw_app.models.equivalence import EquivalentBackends
from nsfw_app.records import Label, Policy
from nsfw_app.review.policies import PolicyBook
from nsfw_app.store import Store
from tests.support.arrivals import AUDIT, REVIEW, arrive, decide
from tests.support.sample_records import FAKE, OTHER
from tests.unit.test_population import arriving

__all__ = ["arriving"]  # a fixture


@pytest.fixture
def summaries(arriving: Store) -> Summaries:
    """Summaries over a store in which every rule is on."""
    return Summaries(arriving, PolicyBook(arriving.policies), EquivalentBackends(None))


def test_a_summary_is_kept_until_something_changes(
    summaries: Summaries, arriving: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same object is returned; after a decision it is outdated, and soon replaced."""
    monkeypatch.setattr(module, "FRESH", module.timedelta(0))
    query = EvidenceQuery(FAKE)
    image = arrive(arriving, 0.5, REVIEW)
    first = summaries.get(query)
    assert (first.summary.images, first.summary.reviews, first.outdated) == (1, 0, False)
    assert summaries.get(query).summary is first.summary
    decide(arriving, image, Label.NSFW)
    assert summaries.get(query).outdated
    deadline = time.monotonic() + 10
    while (found := summaries.get(query)).outdated and time.monotonic() < deadline:
        time.sleep(0.01)
    assert (found.summary.reviews, found.outdated) == (1, False)


def test_a_new_policy_makes_a_summary_outdated(summaries: Summaries, arriving: Store) -> None:
    """The estimates are those of the policy in force."""
    arrive(arriving, 0.5, REVIEW)
    query = EvidenceQuery(FAKE)
    assert not summaries.get(query).outdated
    policies = PolicyBook(arriving.policies)
    policies.save(FAKE.model, Policy(0.6, 0.3, 0.9), author="ann", reason="test")
    assert summaries.get(query).outdated


def test_queries_are_separate(summaries: Summaries, arriving: Store) -> None:
    """Another model, source or period has a summary of its own."""
    arrive(arriving, 0.5, REVIEW)
    arrive(arriving, 0.1, AUDIT, source="gallery")
    arrive(arriving, 0.6, REVIEW, identity=OTHER)
    counts = [
        summaries.get(query).summary.images
        for query in (
            EvidenceQuery(FAKE),
            EvidenceQuery(FAKE, source="gallery"),
            EvidenceQuery(OTHER, days=7),
        )
    ]
    assert counts == [2, 1, 1]


def test_bounds_are_of_older_images_too(summaries: Summaries, arriving: Store) -> None:
    """An image that arrived before the period counts for what is valid at any time."""
    arrive(arriving, 0.5, REVIEW)
    old = arrive(arriving, 0.6, REVIEW)
    with arriving.arrivals._connections.writing() as db:
        db.execute("update arrivals set arrived_at = '2020-01-01T00:00:00.000Z' where id = 2")
    decide(arriving, old, Label.NSFW)
    summary = summaries.get(EvidenceQuery(FAKE, days=7)).summary
    assert (summary.images, summary.reviews) == (1, 0)
    assert (summary.bounds_images, summary.bounds_reviews) == (2, 1)
    assert summary.labeled_reviews == Confusion(0, 0, 0, 0)
    whole = summaries.get(EvidenceQuery(FAKE)).summary
    assert whole.labeled_reviews == Confusion(1, 0, 0, 0)


def test_a_slow_summary_is_computed_rarely(
    summaries: Summaries, arriving: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The background has the CPU for a small part of the time only."""
    monkeypatch.setattr(module, "FRESH", module.timedelta(0))
    query = EvidenceQuery(FAKE)
    image = arrive(arriving, 0.5, REVIEW)
    summaries.get(query)
    summaries._kept[query].took = module.timedelta(hours=1)
    decide(arriving, image, Label.NSFW)
    assert summaries.get(query).outdated
    assert not summaries._kept[query].refreshing


@pytest.mark.parametrize("change", ["age", "policy"])
def test_a_caller_can_wait_for_new_numbers(
    summaries: Summaries, arriving: Store, change: str
) -> None:
    """What is older than a minute, or of another policy, is computed again before it returns."""
    query = EvidenceQuery(FAKE)
    arrive(arriving, 0.5, REVIEW)
    summaries.get(query)
    arrive(arriving, 0.6, REVIEW)
    assert summaries.get(query, wait_s=10).summary.images == 1
    if change == "age":
        summaries._kept[query].computed_at -= module.timedelta(days=1)
        summaries._kept[query].took = module.timedelta(hours=1)
    else:
        policies = PolicyBook(arriving.policies)
        policies.save(FAKE.model, Policy(0.6, 0.3, 0.9), author="ann", reason="test")
    found = summaries.get(query, wait_s=10)
    assert (found.summary.images, found.outdated) == (2, False)


def test_a_caller_does_not_wait_for_long(
    summaries: Summaries, arriving: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the limit the kept numbers are returned, and said to be outdated."""
    query = EvidenceQuery(FAKE)
    arrive(arriving, 0.5, REVIEW)
    summaries.get(query)
    arrive(arriving, 0.6, REVIEW)
    summaries._kept[query].computed_at -= module.timedelta(days=1)
    blocked = threading.Event()
    monkeypatch.setattr(summaries, "_compute", lambda _: blocked.wait(10))
    found = summaries.get(query, wait_s=0.01)
    blocked.set()
    assert (found.summary.images, found.outdated) == (1, True)


def test_a_period_ends_now(summaries: Summaries, arriving: Store) -> None:
    """After an hour a period is another one, even if nothing is new; all periods stay the same."""
    arrive(arriving, 0.5, REVIEW)
    for query, outdated in ((EvidenceQuery(FAKE, days=7), True), (EvidenceQuery(FAKE), False)):
        summaries.get(query)
        kept = summaries._kept[query]
        hour = max(0, kept.state[-1] - 1)
        kept.state = (*kept.state[:-1], hour)
        assert summaries.get(query).outdated is outdated
