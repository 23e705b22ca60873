"""Slots of requests while their bodies arrive; one caller holds a quarter at most."""

from nsfw_app.concurrency_limits import CALLERS
from nsfw_app.web.http.shares import Shares


class SlotPool:
    """Shared limits of requests in flight.

    Args:
        requests: The most bodies that arrive at once.
        caller_requests: The most of these that belong to one caller.
        caller_bytes: The most bytes of one caller's bodies, from arrival until the response.
        processing: What a request acquires when its body is complete.
    """

    def __init__(
        self,
        requests: int,
        caller_requests: int,
        *,
        caller_bytes: int,
        processing: Shares | None = None,
    ) -> None:
        self.arriving = Shares(requests, caller_requests, "uploads that are arriving")
        self.bytes = Shares(CALLERS * caller_bytes, caller_bytes, "MB of request bodies", unit=1e6)
        self.processing = processing


class Slot:
    """The slot of one request, acquired before its body is read; implements `bodies.Arrival`.

    Args:
        pool: The pool of the slot.
        caller: Key of the caller's share.

    Raises:
        TooManyRequests: The caller's share is used up.
        Overloaded: No slot is free.
    """

    def __init__(self, pool: SlotPool, caller: str) -> None:
        pool.arriving.acquire(caller)
        self._pool = pool
        self._caller = caller
        self._shares: Shares | None = pool.arriving
        self._bytes = 0  # held: declared or received
        self._received = 0

    def expect(self, size: int) -> None:
        """Acquire the declared bytes."""
        self._pool.bytes.acquire(self._caller, size)
        self._bytes = size

    def receive(self, size: int) -> None:
        """Acquire received bytes beyond those declared."""
        self._received += size
        if (more := self._received - self._bytes) > 0:
            self._pool.bytes.acquire(self._caller, more)
            self._bytes += more

    def complete(self) -> None:
        """Exchange the arrival slot for a processing slot.

        Raises:
            TooManyRequests: The caller's share of those is used up.
            Overloaded: None is free.
        """
        if (processing := self._pool.processing) is not None:
            processing.acquire(self._caller)
        self._pool.arriving.release(self._caller)
        self._shares = processing

    def release(self) -> None:
        """Release everything."""
        if self._shares is not None:
            self._shares.release(self._caller)
        self._pool.bytes.release(self._caller, self._bytes)
