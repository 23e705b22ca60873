"""Limited resources with a share per caller."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.requests import HTTPConnection

from nsfw_app.errors import Overloaded, TooManyRequests
from nsfw_app.web.http.forwarding import client_address
from nsfw_app.web.http.request_state import caller_of

RETRY_AFTER_S = 1


class Shares:
    """A resource that callers acquire and release. Thread-safe.

    Args:
        total: The whole amount.
        share: The most that one caller may hold.
        what: Name of the resource with its unit, for messages.
        unit: Amount in one unit.
        retry_after_s: Seconds until some of it may be free.
    """

    def __init__(
        self,
        total: int,
        share: int,
        what: str,
        *,
        unit: float = 1,
        retry_after_s: int = RETRY_AFTER_S,
    ) -> None:
        self._total = total
        self._share = share
        self._what = what
        self._unit = unit
        self._retry_after_s = retry_after_s
        self._held: Counter[str] = Counter()
        self._lock = threading.Lock()

    def acquire(self, caller: str, amount: int = 1) -> None:
        """Acquire an amount without waiting.

        Raises:
            TooManyRequests: The caller would hold more than its share.
            Overloaded: All callers together would hold more than the total.
        """
        with self._lock:
            held, all_held = self._held[caller], self._held.total()
            if held + amount <= self._share and all_held + amount <= self._total:
                self._held[caller] += amount
                return
        if held + amount > self._share:
            raise TooManyRequests(
                f"One caller may use {self._share / self._unit:g} {self._what} at once, and "
                f"{held / self._unit:g} are in use. {self._advice}",
                retry_after_s=self._retry_after_s,
            )
        raise Overloaded(
            f"{all_held / self._unit:g} of {self._total / self._unit:g} {self._what} are in use. "
            f"{self._advice}",
            retry_after_s=self._retry_after_s,
        )

    def release(self, caller: str, amount: int = 1) -> None:
        """Release an amount."""
        with self._lock:
            self._held[caller] -= amount
            if not self._held[caller]:
                del self._held[caller]

    @contextmanager
    def held(self, caller: str, amount: int = 1) -> Iterator[None]:
        """Hold an amount until the block ends; see `acquire`."""
        self.acquire(caller, amount)
        try:
            yield
        finally:
            self.release(caller, amount)

    @property
    def _advice(self) -> str:
        seconds = self._retry_after_s
        return f"Try again in {seconds} second{'s' if seconds > 1 else ''}."


def share_key(connection: HTTPConnection) -> str:
    """The key of a request's share: its owner, or its client address."""
    owner = caller_of(connection).owner
    if owner is not None:
        return owner
    return f"address:{client_address(connection)}"
