"""Shares: limits of one caller and of all callers."""

import pytest

from nsfw_app.concurrency_limits import quarter
from nsfw_app.errors import Overloaded, TooManyRequests
from nsfw_app.web.http.request_limits import RequestLimits
from nsfw_app.web.http.shares import Shares
from nsfw_app.web.http.slots import Slot, SlotPool


def test_one_caller_is_limited_to_its_share() -> None:
    """Beyond its share a caller is rejected with the numbers; others are not affected."""
    shares = Shares(8, quarter(8), "pool")
    for _ in range(2):
        shares.acquire("ann")
    with pytest.raises(TooManyRequests, match="may use 2 pool at once, and 2 are in use"):
        shares.acquire("ann")
    shares.acquire("bob", 2)
    shares.release("ann")
    shares.acquire("ann")


def test_all_callers_are_limited_to_the_total() -> None:
    """When the total is used up, a caller without a share in use gets Overloaded."""
    shares = Shares(4_000_000, quarter(4_000_000), "MB of bodies", unit=1e6, retry_after_s=9)
    for caller in "abcd":
        shares.acquire(caller, 1_000_000)
    with pytest.raises(Overloaded, match="4 of 4 MB of bodies are in use") as refused:
        shares.acquire("e", 1)
    assert refused.value.retry_after_s == 9


def test_a_share_is_at_least_one() -> None:
    """A share is at least one."""
    assert [quarter(total) for total in (1, 3, 4, 64)] == [1, 1, 1, 16]


def test_failed_acquisition_changes_nothing() -> None:
    """A rejection leaves the counts unchanged, and a block releases after an error."""
    shares = Shares(2, 2, "places")
    with pytest.raises(TooManyRequests):
        shares.acquire("ann", 3)
    with pytest.raises(KeyError), shares.held("ann", 2):
        raise KeyError
    shares.acquire("ann", 2)


def test_slot_is_exchanged_when_the_body_is_complete() -> None:
    """While its body arrives, a request holds an arrival slot only; then a processing slot only."""
    processing = Shares(1, 1, "processing requests")
    pool = SlotPool(4, 1, caller_bytes=10, processing=processing)
    slot = Slot(pool, "ann")
    processing.acquire("bob")
    with pytest.raises(TooManyRequests):
        Slot(pool, "ann")
    with pytest.raises(Overloaded, match="processing requests"):
        slot.complete()
    processing.release("bob")
    slot.complete()
    Slot(pool, "ann").release()
    slot.release()
    processing.acquire("bob")


def test_bytes_are_counted_as_declared_or_as_they_arrive() -> None:
    """Declared bytes are held at once, others as they arrive; all until the slot is released."""
    pool = SlotPool(8, 2, caller_bytes=10)
    declared, undeclared = Slot(pool, "ann"), Slot(pool, "ann")
    declared.expect(6)
    for _ in range(4):
        undeclared.receive(1)
    with pytest.raises(TooManyRequests):
        undeclared.receive(1)
    declared.receive(6)
    declared.complete()
    undeclared.release()
    with pytest.raises(TooManyRequests):
        Slot(pool, "ann").expect(5)
    declared.release()
    Slot(pool, "ann").expect(10)


@pytest.mark.parametrize("file_bytes", [100_000, 1_500_000, 50_000_000, 500_000_000])
def test_limits_hold_what_they_promise(file_bytes: int) -> None:
    """One file of the largest size, and 64 images, fit into every form of request."""
    limits = RequestLimits(file_bytes)
    assert limits.files_bytes >= file_bytes
    assert limits.files_bytes >= 64 * min(file_bytes, 1_500_000)
    assert limits.json_bytes >= limits.files_bytes * 4 / 3
    assert limits.json.max_text_bytes >= file_bytes * 4 / 3
    assert limits.caller_bytes >= max(limits.json_bytes, limits.form_bytes)
