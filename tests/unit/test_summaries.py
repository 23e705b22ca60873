"""Kept summaries: computed once, returned at once, and brought up to date."""

import threading
import time

import pytest

from nsfw_app.errors import AcceptanceError, NothingToAccept
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
    monkeypatch.setattr(module, "PAUSES", 0)
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


def drift(store: Store, images: int = 160) -> None:
    """A hundred images of long ago, and recent ones of another score."""
    for _ in range(100):
        arrive(store, 0.3, REVIEW)
    with store.arrivals._connections.writing() as db:
        db.execute("update arrivals set arrived_at = '2020-01-01T00:00:00.000Z'")
    for _ in range(images):
        arrive(store, 0.7, REVIEW)


def test_accepted_images_end_the_alarm_at_once(summaries: Summaries, arriving: Store) -> None:
    """Of every query of the model, in every process; then there is nothing to accept."""
    other = Summaries(arriving, PolicyBook(arriving.policies), EquivalentBackends(None))
    drift(arriving)
    queries = [EvidenceQuery(FAKE), EvidenceQuery(FAKE, days=7), EvidenceQuery(FAKE, source="api")]
    for each in (summaries, other):
        assert all(each.get(query).summary.comparison.alarm for query in queries)
    made = summaries.accept_images(queries[1], author="root", reason=" A new app. ")
    assert [(each.author, each.reason) for each in made] == [("root", "A new app.")]
    for each in (summaries, other):
        for query in queries:
            found = each.get(query)
            assert (found.summary.comparison.alarm, found.outdated) == (False, False)
            assert found.summary.comparison.accepted == made[0]
            assert 100 <= found.summary.comparison.scores.reference < 160
    with pytest.raises(NothingToAccept):
        summaries.accept_images(queries[0], author="root", reason="Again.")


def test_too_few_images_after_an_alarm_cannot_be_accepted(
    summaries: Summaries, arriving: Store
) -> None:
    """Later ones could not be compared with them; the message says how many there are."""
    drift(arriving, images=100)
    since = summaries.get(EvidenceQuery(FAKE)).summary.comparison.least_since_alarm
    assert 0 < since < 100
    with pytest.raises(NothingToAccept, match=f"^{since} came after the alarm"):
        summaries.accept_images(EvidenceQuery(FAKE), author="root", reason="A new app.")
    assert arriving.references.accepted(FAKE.model) == []


@pytest.mark.parametrize("reason", ["", " \n"])
def test_images_are_not_accepted_without_a_reason(
    summaries: Summaries, arriving: Store, reason: str
) -> None:
    """Nothing is recorded, and the alarm stays."""
    drift(arriving)
    with pytest.raises(AcceptanceError, match="Say why"):
        summaries.accept_images(EvidenceQuery(FAKE), author="root", reason=reason)
    assert arriving.references.accepted(FAKE.model) == []
    assert summaries.get(EvidenceQuery(FAKE)).summary.comparison.alarm


def test_accepted_references_are_found_by_an_index(arriving: Store) -> None:
    """They are read with each summary, and the audit grows with each sign-in and export."""
    plan = arriving.references._connections.db.execute(
        "explain query plan select max(id) from audit where action = 'reference' and subject = ?",
        ("model",),
    ).fetchall()
    assert "audit_references" in plan[0]["detail"]


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


@pytest.mark.parametrize("change", ["age", "due", "policy"])
def test_a_caller_can_wait_for_new_numbers(
    summaries: Summaries, arriving: Store, change: str
) -> None:
    """What is due, older than a minute, or of another policy is computed before it returns."""
    query = EvidenceQuery(FAKE)
    arrive(arriving, 0.5, REVIEW)
    summaries.get(query)
    arrive(arriving, 0.6, REVIEW)
    assert summaries.get(query, wait_s=10).summary.images == 1
    if change == "age":
        summaries._kept[query].computed_at -= module.timedelta(days=1)
        summaries._kept[query].took = module.timedelta(hours=1)
    elif change == "due":
        summaries._kept[query].computed_at -= module.timedelta(seconds=6)
        summaries._kept[query].took = module.timedelta(seconds=0.1)
    else:
        policies = PolicyBook(arriving.policies)
        policies.save(FAKE.model, Policy(0.6, 0.3, 0.9), author="ann", reason="test")
    found = summaries.get(query, wait_s=10)
    assert (found.summary.images, found.outdated) == (2, False)


def test_the_comparison_is_that_of_the_latest_summary(
    summaries: Summaries, arriving: Store
) -> None:
    """An alarm that a summary of any period has is known at once; nothing is computed for it."""
    for _ in range(100):
        arrive(arriving, 0.3, REVIEW)
    with arriving.arrivals._connections.writing() as db:
        db.execute("update arrivals set arrived_at = '2020-01-01T00:00:00.000Z'")
    assert not summaries.get(EvidenceQuery(FAKE)).summary.comparison.alarm
    for _ in range(60):
        arrive(arriving, 0.7, REVIEW)
    assert summaries.get(EvidenceQuery(FAKE, days=7)).summary.comparison.alarm
    assert not summaries.get(EvidenceQuery(FAKE)).summary.comparison.alarm
    assert summaries.comparison(FAKE, wait_s=0).alarm
    assert len(summaries._kept) == 2


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
