"""Request bodies: never more than a limit, and never slower than a minimum rate.

A body that is too slow is cut, because it holds a place that others could use (slow-loris
protection). A body whose declared length is over the limit is refused before it is read.
"""

import io
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Protocol

import anyio
import anyio.lowlevel
from fastapi import Request
from python_multipart.multipart import parse_options_header
from starlette.requests import HTTPConnection
from starlette.types import Message, Receive

from nsfw_app.errors import RequestError, RequestTooLarge, RequestTooSlow

WINDOW_S = 10.0
MIN_BYTES_PER_S = 10_000  # within any window; a modem of 1996 sent 3,500
CHARSETS = frozenset({"utf-8", "utf8", "us-ascii"})
SLICE_BYTES = 16_384  # checked without a pause, in a few milliseconds at most
STEP_S = 0.1  # arrivals this close together are one


class Arrival(Protocol):
    """What follows a body while it arrives, and may end it by raising an error."""

    def expect(self, size: int) -> None:
        """So many bytes were declared."""

    def receive(self, size: int) -> None:
        """So many more bytes have arrived."""

    def complete(self) -> None:
        """The last byte has arrived."""


async def body(
    request: Request,
    *,
    max_bytes: int,
    check: Callable[[bytes], None] | None = None,
    arrival: Arrival | None = None,
) -> bytes:
    """A request's body.

    Args:
        request: The request; its body was not read yet.
        max_bytes: The most bytes.
        check: Is called with each slice of at most `SLICE_BYTES`, and may refuse it.
        arrival: What follows it; by default the place that `ClassifyGate.place` has taken, if any.

    Raises:
        RequestTooLarge: It has more bytes, or declares more.
        RequestTooSlow: It arrives more slowly than the minimum rate.
        RequestError: The connection was closed before.
    """
    received = io.BytesIO()
    async for chunk in chunks(request, max_bytes=max_bytes, arrival=arrival):
        received.write(chunk)
        if check is not None:
            await in_slices(chunk, check)
    return received.getvalue()  # no copy: the buffer is handed over


def chunks(
    request: Request, *, max_bytes: int, arrival: Arrival | None = None
) -> AsyncIterator[bytes]:
    """A request's body as it arrives; see `body`."""
    receive = limited(request, request.receive, max_bytes, arrival)
    return Request(request.scope, receive).stream()


async def in_slices(chunk: bytes, take: Callable[[bytes], None]) -> None:
    """Hand a chunk on in slices, between which other requests have their turn."""
    for start in range(0, len(chunk), SLICE_BYTES):
        take(chunk[start : start + SLICE_BYTES])
        await anyio.lowlevel.checkpoint()


def again(data: bytes, receive: Receive) -> Receive:
    """The messages of a request whose body was read already: the body, and what comes after."""
    messages = iter([{"type": "http.request", "body": data, "more_body": False}])

    async def next_message() -> Message:
        return next(messages, None) or await receive()

    return next_message


def limited(
    connection: HTTPConnection, receive: Receive, max_bytes: int, arrival: Arrival | None = None
) -> Receive:
    """The same messages of a request, until its body is too large or too slow; see `body`.

    What comes after the body is waited for without end: it says that the caller has gone.

    Raises:
        RequestTooLarge: The declared length is over the limit.
    """
    arrival = arrival or connection.scope.get("state", {}).get("arrival")
    declared = declared_length(connection)
    if declared is not None and declared > max_bytes:
        raise too_large(max_bytes)
    if arrival is not None and declared is not None:
        arrival.expect(declared)
    pace, received, complete = Pace(), 0, False

    async def next_message() -> Message:
        nonlocal received, complete
        if complete:
            return await receive()
        begun = time.monotonic()
        try:
            with anyio.fail_after(pace.patience_s):
                message = await receive()
        except TimeoutError:
            raise RequestTooSlow(
                f"The body arrived more slowly than {MIN_BYTES_PER_S / 1e3:g} kB/s over "
                f"{WINDOW_S:g} s."
            ) from None
        if message["type"] == "http.disconnect":
            raise RequestError("The connection was closed before the body was complete.")
        complete = not message.get("more_body", False)
        size = len(message.get("body", b""))
        pace.arrived(size, time.monotonic() - begun)
        received += size
        if received > max_bytes:
            raise too_large(max_bytes)
        if arrival is not None:
            arrival.receive(size)
            if complete:
                arrival.complete()
        return message

    return next_message


def declared_length(connection: HTTPConnection) -> int | None:
    """The length that a request declares for its body; None for a body of unknown length.

    Raises:
        RequestError: It is not a number.
    """
    declared = connection.headers.get("content-length")
    if declared is None:
        return None
    if not declared.isascii() or not declared.isdecimal():
        raise RequestError("The Content-Length is not a number.")
    return int(declared[:20])


def check_charset(connection: HTTPConnection) -> None:
    """Refuse a body in another charset than UTF-8: some decode to what no text can hold.

    Raises:
        RequestError: It is in another.
    """
    options = parse_options_header(connection.headers.get("content-type"))[1]
    charset = options.get(b"charset", b"utf-8").decode("latin-1")
    if charset.lower() not in CHARSETS:
        raise RequestError(f"The charset is {charset!r}; only utf-8 is accepted.")


def too_large(max_bytes: int) -> RequestTooLarge:
    """The error for a body over its limit."""
    return RequestTooLarge(f"The request has more than the limit of {max_bytes / 1e6:.3g} MB.")


class Pace:
    """How long the next bytes of a body may take, so that no window is below the minimum rate.

    Only the time counts in which the server waits for the caller, not that in which it is busy.
    """

    def __init__(self) -> None:
        self._needed = WINDOW_S * MIN_BYTES_PER_S
        # The latest arrivals that together are enough; the start counts as one of them.
        self._recent = deque([[0.0, self._needed]])
        self._sum = self._needed
        self._waited = 0.0

    @property
    def patience_s(self) -> float:
        """The seconds until the rate falls below the minimum if nothing arrives."""
        return max(0.0, self._recent[0][0] + WINDOW_S - self._waited)

    def arrived(self, size: int, waited_s: float) -> None:
        """Count bytes that were waited for."""
        self._waited += waited_s
        if self._waited - self._recent[-1][0] < STEP_S and len(self._recent) > 1:
            self._recent[-1][1] += size
        else:
            self._recent.append([self._waited, size])
        self._sum += size
        while self._sum - self._recent[0][1] >= self._needed:
            self._sum -= self._recent.popleft()[1]
