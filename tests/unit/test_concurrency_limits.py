"""Concurrency limits derived from the settings."""

from dataclasses import asdict

import pytest

from nsfw_app.concurrency_limits import concurrency_limits, in_flight_batched
from nsfw_app.settings import load


def test_all_limits_follow_from_three_settings() -> None:
    """Slots from NSFW_MAX_WAITING, batches from NSFW_BATCH_SIZE, CPU slots from NSFW_THREADS."""
    assert asdict(concurrency_limits(load(max_waiting=40, batch_size=6, threads=2))) == {
        "backlog": 2048,
        "request_slots": 40,
        "caller_slots": 10,
        "page_uploads": 2,
        "threads": 12,
        "model_queue": 40,
        "batch": 6,
        "cpu_slots": 2,
    }


@pytest.mark.parametrize("value", [1, 2, 3, 200])
def test_no_stage_is_closed_or_starves_the_next(value: int) -> None:
    """With the smallest settings too, each stage admits one and the threads can fill a batch."""
    limits = concurrency_limits(load(max_waiting=value, batch_size=value, threads=value))
    assert min(asdict(limits).values()) >= 1
    assert limits.page_uploads <= limits.caller_slots <= limits.request_slots
    assert limits.threads >= max(limits.batch, in_flight_batched(limits.batch))
