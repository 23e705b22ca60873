"""Rate limits over a sliding window, in memory.

They use the monotonic clock, so that setting the system clock neither locks a caller out nor resets
a limit.
"""

import threading
import time
from collections import deque
from dataclasses import dataclass

MINUTE_S = 60.0


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most `amount` events within any `window_s` seconds."""

    amount: int
    window_s: float = MINUTE_S


class RateLimiter:
    """Counts events by limit and key. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._events: dict[tuple[RateLimit, tuple[str, ...]], deque[float]] = {}
        self._swept_at = time.monotonic()

    def hit(self, limit: RateLimit, *key: str) -> float:
        """Count an event unless the limit is reached.

        Returns:
            0 if it was counted, else the seconds until the next event is allowed.
        """
        now = time.monotonic()
        with self._lock:
            self._sweep(now)
            events = self._events.setdefault((limit, key), deque())
            while events and events[0] <= now - limit.window_s:
                events.popleft()
            if len(events) >= limit.amount:
                return limit.window_s - (now - events[0])
            events.append(now)
            return 0

    def clear(self, limit: RateLimit, *key: str) -> None:
        """Forget the events of a key."""
        with self._lock:
            self._events.pop((limit, key), None)

    def _sweep(self, now: float) -> None:
        """Forget keys without events in their window, about once a minute."""
        if now - self._swept_at < MINUTE_S:
            return
        self._swept_at = now
        self._events = {
            (limit, key): events
            for (limit, key), events in self._events.items()
            if events and events[-1] > now - limit.window_s
        }
