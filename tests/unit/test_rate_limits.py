"""Rate limits: a sliding window on the monotonic clock."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from nsfw_app import rate_limits
from nsfw_app.rate_limits import RateLimit, RateLimiter

THREE = RateLimit(3)


class Clock:
    """The monotonic clock of the limiter, advanced by the test."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def monotonic(self) -> float:
        """The time of this clock."""
        return self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that the test advances."""
    clock = Clock()
    monkeypatch.setattr(rate_limits, "time", SimpleNamespace(monotonic=clock.monotonic))
    return clock


def test_the_window_slides(clock: Clock) -> None:
    """Each event counts for a minute; a rejected one does not count."""
    limiter = RateLimiter()
    for _ in range(3):
        assert limiter.hit(THREE, "a") == 0
        clock.seconds += 10
    assert [limiter.hit(THREE, "a"), limiter.hit(THREE, "a")] == [30, 30]
    clock.seconds += 30
    assert [limiter.hit(THREE, "a"), limiter.hit(THREE, "a")] == [0, 10]


def test_keys_and_limits_are_counted_apart(clock: Clock) -> None:
    """Events of other callers and other limits do not count."""
    limiter = RateLimiter()
    for _ in range(3):
        limiter.hit(THREE, "a", "here")
    assert limiter.hit(THREE, "a", "here") > 0
    assert limiter.hit(THREE, "a", "there") == 0
    assert limiter.hit(RateLimit(3, window_s=1), "a", "here") == 0
    limiter.clear(THREE, "a", "here")
    assert limiter.hit(THREE, "a", "here") == 0


@pytest.mark.parametrize("days", [-1, 1])
def test_the_system_clock_does_not_matter(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    """Setting the system clock by a day neither locks a caller out nor resets a limit."""
    limiter = RateLimiter()
    for _ in range(3):
        limiter.hit(THREE, "a")
    moved = time.time() + days * 86_400
    monkeypatch.setattr(time, "time", lambda: moved)
    assert limiter.hit(THREE, "a") == 60
    clock.seconds += 60
    assert limiter.hit(THREE, "a") == 0


def test_expired_keys_are_removed(clock: Clock) -> None:
    """Keys without recent events are removed."""
    limiter = RateLimiter()
    for number in range(1_000):
        limiter.hit(THREE, str(number))
    clock.seconds += 61
    limiter.hit(THREE, "another")
    assert len(limiter._events) == 1


def test_the_limit_holds_across_threads() -> None:
    """Of many concurrent events exactly the limit is counted."""
    limiter, barrier = RateLimiter(), threading.Barrier(20)

    def hit(_: int) -> bool:
        barrier.wait()
        return limiter.hit(RateLimit(7), "a") == 0

    with ThreadPoolExecutor(20) as pool:
        assert sum(pool.map(hit, range(20))) == 7
