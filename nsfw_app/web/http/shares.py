"""Limited resources that callers share: one caller never holds more than its part."""

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
    """A resource of which callers take amounts and give them back.

    Args:
        total: How much there is.
        part: How much of it one caller may hold.
        what: What it is, with its unit, for messages.
        unit: The size of that unit.
        retry_after_s: When some of it may be free again.
    """

    def __init__(
        self,
        total: int,
        part: int,
        what: str,
        *,
        unit: float = 1,
        retry_after_s: int = RETRY_AFTER_S,
    ) -> None:
        self._total = total
        self._part = part
        self._what = what
        self._unit = unit
        self._retry_after_s = retry_after_s
        self._held: Counter[str] = Counter()
        self._lock = threading.Lock()

    def take(self, caller: str, amount: int = 1) -> None:
        """Take some of it.

        Raises:
            TooManyRequests: The caller would hold more than its part.
            Overloaded: All callers together would hold more than there is.
        """
        with self._lock:
            held, all_held = self._held[caller], self._held.total()
            if held + amount <= self._part and all_held + amount <= self._total:
                self._held[caller] += amount
                return
        if held + amount > self._part:
            raise TooManyRequests(
                f"One caller may use {self._part / self._unit:g} {self._what} at once, and "
                f"{held / self._unit:g} are in use. {self._advice}",
                retry_after_s=self._retry_after_s,
            )
        raise Overloaded(
            f"{all_held / self._unit:g} of {self._total / self._unit:g} {self._what} are in use. "
            f"{self._advice}",
            retry_after_s=self._retry_after_s,
        )

    def give_back(self, caller: str, amount: int = 1) -> None:
        """Give some of it back."""
        with self._lock:
            self._held[caller] -= amount
            if not self._held[caller]:
                del self._held[caller]

    @contextmanager
    def held(self, caller: str, amount: int = 1) -> Iterator[None]:
        """Some of it, until the block ends; see `take`."""
        self.take(caller, amount)
        try:
            yield
        finally:
            self.give_back(caller, amount)

    @property
    def _advice(self) -> str:
        seconds = self._retry_after_s
        return f"Try again in {seconds} second{'s' if seconds > 1 else ''}."


def share_key(connection: HTTPConnection) -> str:
    """The name under which a request's share is counted: its owner, or its address."""
    owner = caller_of(connection).owner
    if owner is not None:
        return owner
    return f"address:{client_address(connection)}"
