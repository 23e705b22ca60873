"""Places of requests while their bodies arrive, of which one caller holds a quarter at most."""

from nsfw_app.concurrency_limits import CALLERS, quarter
from nsfw_app.web.http.shares import Shares


class SlotPool:
    """Places and bytes of requests.

    Args:
        requests: Bodies that may arrive at the same time.
        caller_bytes: The bytes of all bodies of one caller, from their arrival until the response.
        then: What a request needs once its body is complete.
    """

    def __init__(self, requests: int, *, caller_bytes: int, then: Shares | None = None) -> None:
        self.arriving = Shares(requests, quarter(requests), "uploads that are arriving")
        self.bytes = Shares(CALLERS * caller_bytes, caller_bytes, "MB of request bodies", unit=1e6)
        self.then = then


class Slot:
    """One request's place, taken before its body is read; see `bodies.Arrival`.

    Args:
        places: Where it is taken.
        caller: Whose it is.

    Raises:
        TooManyRequests: The caller holds its part already.
        Overloaded: None is free.
    """

    def __init__(self, places: SlotPool, caller: str) -> None:
        places.arriving.take(caller)
        self._places = places
        self._caller = caller
        self._shares: Shares | None = places.arriving
        self._bytes = 0  # that it holds: those declared, or those received
        self._received = 0

    def expect(self, size: int) -> None:
        """Take the bytes that were declared."""
        self._places.bytes.take(self._caller, size)
        self._bytes = size

    def receive(self, size: int) -> None:
        """Take bytes that have arrived, unless they were declared."""
        self._received += size
        if (more := self._received - self._bytes) > 0:
            self._places.bytes.take(self._caller, more)
            self._bytes += more

    def complete(self) -> None:
        """Leave the requests that arrive, and take what is needed next.

        Raises:
            TooManyRequests: The caller holds its part of that already.
            Overloaded: None is free.
        """
        if (then := self._places.then) is not None:
            then.take(self._caller)
        self._places.arriving.give_back(self._caller)
        self._shares = then

    def leave(self) -> None:
        """Give everything back."""
        if self._shares is not None:
            self._shares.give_back(self._caller)
        self._places.bytes.give_back(self._caller, self._bytes)
