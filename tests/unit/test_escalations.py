"""Escalations that are withdrawn: the entry is what it was before."""

import pytest

from nsfw_app.errors import LeaseError, NotFound
from nsfw_app.records import Label
from nsfw_app.rules.queue import QueueReason
from nsfw_app.store import Store
from tests.unit.test_queue_entries import decide, offered, queue_store, waiting

__all__ = ["queue_store"]  # a fixture


def entries(store: Store) -> list[tuple[object, ...]]:
    """Every entry, with its reason, priority, and whether it is open."""
    rows = store.queue._connections.db.execute(
        "select id, reason, priority, answers_wanted, settled_at is null from queue order by id"
    )
    return [tuple(row) for row in rows]


@pytest.mark.parametrize("reason", [QueueReason.REVIEW, QueueReason.AUDIT])
def test_an_entry_is_what_it_was(queue_store: Store, reason: QueueReason) -> None:
    """Reason, priority and wanted decisions return, and the requester holds it again."""
    prediction = waiting(queue_store, 0.5, reason)
    before = entries(queue_store)
    queue_store.queue.escalate(prediction, "ann")
    assert entries(queue_store) != before
    entry_id = queue_store.queue.withdraw_escalation(prediction, "ann")
    assert entries(queue_store) == before
    assert offered(queue_store, "bob") == []
    queue_store.leases.release([entry_id or 0], "ann")
    assert offered(queue_store, "ann") == offered(queue_store, "bob") == [prediction]
    with pytest.raises(NotFound):
        queue_store.queue.withdraw_escalation(prediction, "ann")
    assert queue_store.consistency.check() == []


def test_an_entry_that_the_request_opened_is_gone(queue_store: Store) -> None:
    """An image that was settled, or never waited, does not wait any more."""
    prediction = waiting(queue_store, 0.6)
    decide(queue_store, prediction, "ann", Label.NSFW)
    before = entries(queue_store)
    queue_store.queue.escalate(prediction, "ann")
    assert offered(queue_store, "bob") == [prediction]
    assert queue_store.queue.withdraw_escalation(prediction, "ann") is None
    assert entries(queue_store) == before
    assert queue_store.consistency.check() == []


def test_requests_of_others_stay(queue_store: Store) -> None:
    """Only the last of several requests that is withdrawn restores the entry."""
    prediction = waiting(queue_store, 0.5)
    before = entries(queue_store)
    for reviewer in ("ann", "bob"):
        queue_store.queue.escalate(prediction, reviewer)
    queue_store.queue.withdraw_escalation(prediction, "ann")
    assert entries(queue_store) != before
    queue_store.queue.withdraw_escalation(prediction, "bob")
    assert entries(queue_store) == before


def test_a_request_that_another_acted_on_stays(queue_store: Store) -> None:
    """After another reviewer's decision it cannot be withdrawn, settled or not."""
    prediction = waiting(queue_store, 0.6)
    queue_store.queue.escalate(prediction, "ann")
    decide(queue_store, prediction, "bob", Label.NSFW)
    escalated = entries(queue_store)
    with pytest.raises(LeaseError, match="has decided"):
        queue_store.queue.withdraw_escalation(prediction, "ann")
    assert entries(queue_store) == escalated
    decide(queue_store, prediction, "cat", Label.NSFW)
    with pytest.raises(NotFound):
        queue_store.queue.withdraw_escalation(prediction, "ann")


def test_an_earlier_skip_stays_a_skip(queue_store: Store) -> None:
    """Who had skipped an image before escalating it has still skipped it."""
    prediction, other = waiting(queue_store, 0.5), waiting(queue_store, 0.6)
    (lease,) = queue_store.leases.claim("ann", count=1)
    queue_store.leases.skip(lease.entry_id, "ann")
    queue_store.queue.escalate(prediction, "ann")
    queue_store.queue.withdraw_escalation(prediction, "ann")
    queue_store.leases.release([lease.entry_id], "ann")
    assert offered(queue_store, "ann") == [other, prediction]
