"""Leases: claims of one reason, counts for a reviewer, undone skips, and what admins see."""

import pytest

from nsfw_app.errors import LeaseError, NotFound
from nsfw_app.records import Label
from nsfw_app.rules.queue import PRIORITIES, EntryReason, QueueOrder, QueueReason
from nsfw_app.store import Store
from nsfw_app.store.leases import QueueSummary
from tests.unit.test_queue_entries import decide, offered, queue_store, waiting

__all__ = ["queue_store"]  # a fixture


def test_every_queue_reason_is_a_reason_of_its_entry() -> None:
    """Entries store the priority of their reason, in every version of the database."""
    assert {reason.value: number for reason, number in PRIORITIES.items()} == {
        "second_opinion": 1, "disagreement": 2, "review": 3, "audit": 4,
    }  # fmt: skip
    for reason, priority in PRIORITIES.items():
        assert EntryReason.of_priority(priority) == EntryReason(reason)


@pytest.mark.parametrize("order", QueueOrder)
def test_a_claim_of_one_reason(queue_store: Store, order: QueueOrder) -> None:
    """Entries of other reasons are left out, in both orders; adjudications are a reason."""
    far, near = waiting(queue_store, 0.9), waiting(queue_store, 0.52)
    asked = waiting(queue_store, 0.99, QueueReason.SECOND_OPINION)
    differ = waiting(queue_store, 0.7)
    decide(queue_store, differ, "ann", Label.NORMAL)
    decide(queue_store, differ, "bob", Label.NSFW)

    def of(reason: EntryReason) -> list[int]:
        return offered(queue_store, "cat", order=order, reason=reason)

    expected = [near, far] if order is QueueOrder.PRIORITY else [far, near]
    assert of(EntryReason.REVIEW) == expected
    assert of(EntryReason.SECOND_OPINION) == [asked]
    assert of(EntryReason.ADJUDICATION) == [differ]
    assert of(EntryReason.AUDIT) == []
    (lease,) = queue_store.leases.claim("cat", count=9, reason=EntryReason.SECOND_OPINION)
    assert (lease.reason, lease.entered_for) == (EntryReason.SECOND_OPINION,) * 2
    queue_store.leases.skip(lease.entry_id, "cat")
    assert of(EntryReason.REVIEW) == expected
    assert of(EntryReason.SECOND_OPINION) == [asked]


def test_the_summary_counts_what_a_reviewer_can_claim(queue_store: Store) -> None:
    """By reason, with the oldest; leased and decided entries are counted apart."""
    assert queue_store.leases.summary("ann") == QueueSummary({}, None, 0, 0)
    decided = waiting(queue_store, 0.6)
    held = waiting(queue_store, 0.5)
    waiting(queue_store, 0.55)
    waiting(queue_store, 0.1, QueueReason.AUDIT)
    decide(queue_store, decided, "ann", Label.NORMAL)
    (lease,) = queue_store.leases.claim("bob", count=1, reason=EntryReason.REVIEW)
    assert lease.prediction_id == held
    oldest = queue_store.queue._connections.row(
        "select min(entered_at) from queue where prediction_id not in (?, ?)", (decided, held)
    )[0]
    counts = {EntryReason.REVIEW: 1, EntryReason.AUDIT: 1}
    summary = queue_store.leases.summary("ann")
    assert summary == QueueSummary(counts, oldest, held=1, decided=1)
    assert summary.waiting == queue_store.leases.waiting("ann") == 2
    assert queue_store.leases.summary("bob").by_reason == {
        EntryReason.DISAGREEMENT: 1, EntryReason.REVIEW: 2, EntryReason.AUDIT: 1,
    }  # fmt: skip


def test_an_undone_skip_is_leased_again(queue_store: Store) -> None:
    """The entry comes in its usual place again, also when the request is repeated."""
    first, second = waiting(queue_store, 0.5), waiting(queue_store, 0.6)
    (lease,) = queue_store.leases.claim("ann", count=1)
    queue_store.leases.skip(lease.entry_id, "ann")
    queue_store.leases.unskip(lease.entry_id, "ann")
    assert offered(queue_store, "bob") == [second]
    queue_store.leases.unskip(lease.entry_id, "ann")
    assert offered(queue_store, "ann") == [first, second]


def test_a_skip_of_an_entry_that_another_holds_or_decided_is_not_undone(queue_store: Store) -> None:
    """The error says so, and the skip stays; who skipped nothing gets NotFound."""
    prediction = waiting(queue_store, 0.5)
    (lease,) = queue_store.leases.claim("ann", count=1)
    queue_store.leases.skip(lease.entry_id, "ann")
    queue_store.leases.claim("bob", count=1)
    with pytest.raises(LeaseError):
        queue_store.leases.unskip(lease.entry_id, "ann")
    with pytest.raises(NotFound):
        queue_store.leases.unskip(lease.entry_id, "cat")
    decide(queue_store, prediction, "bob", Label.NSFW)
    with pytest.raises(LeaseError):
        queue_store.leases.unskip(lease.entry_id, "ann")
    assert queue_store.queue._connections.row("select count(*) from queue_skips")[0] == 1


def test_an_admin_sees_and_ends_leases(queue_store: Store) -> None:
    """Who holds what, until when and why; a lease that is revoked is audited."""
    waiting(queue_store, 0.5)
    (lease,) = queue_store.leases.claim("ann", count=1)
    (holding,) = queue_store.leases.held()
    assert (holding.entry_id, holding.reviewer) == (lease.entry_id, "ann")
    assert holding.reason is EntryReason.REVIEW
    stored = queue_store.catalog.get(lease.prediction_id)
    assert holding.image_sha256 == stored.info.sha256
    queue_store.leases.revoke(lease.entry_id, actor="root")
    assert queue_store.leases.held() == []
    assert queue_store.leases.renew([lease.entry_id], "ann") == []
    (entry,) = queue_store.audit.entries()
    assert (entry.actor, entry.action, entry.subject) == ("root", "lease", "ann")
    assert entry.details == {"released_entry": lease.entry_id}
    with pytest.raises(NotFound):
        queue_store.leases.revoke(lease.entry_id, actor="root")
