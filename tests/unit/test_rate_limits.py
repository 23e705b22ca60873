"""Rate limits: a moving window by the monotonic clock."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from nsfw_app import rate_limits
from nsfw_app.rate_limits import RateLimit, RateLimiter

THREE = RateLimit(3)


class Clock:
    """The monotonic clock of the limiter, moved by the test."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def monotonic(self) -> float:
        """The time of this clock."""
        return self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """It stands still unless it is moved."""
    clock = Clock()
    monkeypatch.setattr(rate_limits, "time", SimpleNamespace(monotonic=clock.monotonic))
    return clock


def test_a_window_moves(clock: Clock) -> None:
    """Each event counts for a minute of its own; a refused one does not count."""
    limiter = RateLimiter()
    for _ in range(3):
        assert limiter.hit(THREE, "a") == 0
        clock.seconds += 10
    assert [limiter.hit(THREE, "a"), limiter.hit(THREE, "a")] == [30, 30]
    clock.seconds += 30
    assert [limiter.hit(THREE, "a"), limiter.hit(THREE, "a")] == [0, 10]


def test_keys_and_limits_are_counted_apart(clock: Clock) -> None:
    """One caller's events are not another's, nor those of another limit."""
    limiter = RateLimiter()
    for _ in range(3):
        limiter.hit(THREE, "a", "here")
    assert limiter.hit(THREE, "a", "here") > 0
    assert limiter.hit(THREE, "a", "there") == 0
    assert limiter.hit(RateLimit(3, window_s=1), "a", "here") == 0
    limiter.clear(THREE, "a", "here")
    assert limiter.hit(THREE, "a", "here") == 0


@pytest.mark.parametrize("days", [-1, 1])
def test_the_systems_clock_does_not_matter(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    """Set by a day in either direction, it neither locks a caller out nor frees one."""
    limiter = RateLimiter()
    for _ in range(3):
        limiter.hit(THREE, "a")
    moved = time.time() + days * 86_400
    monkeypatch.setattr(time, "time", lambda: moved)
    assert limiter.hit(THREE, "a") == 60
    clock.seconds += 60
    assert limiter.hit(THREE, "a") == 0


def test_what_is_over_is_forgotten(clock: Clock) -> None:
    """Callers who came once take no memory for ever."""
    limiter = RateLimiter()
    for number in range(1_000):
        limiter.hit(THREE, str(number))
    clock.seconds += 61
    limiter.hit(THREE, "another")
    assert len(limiter._events) == 1


def test_threads_together_get_the_limit() -> None:
    """Of many events at once exactly as many are counted as the limit allows."""
    limiter, barrier = RateLimiter(), threading.Barrier(20)

    def hit(_: int) -> bool:
        barrier.wait()
        return limiter.hit(RateLimit(7), "a") == 0

    with ThreadPoolExecutor(20) as pool:
        assert sum(pool.map(hit, range(20))) == 7
