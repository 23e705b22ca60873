"""Reads request bodies within a size limit and above a minimum rate.

- A body below the minimum rate is rejected, because it holds a slot (slow-loris protection).
- A body whose declared length is over the limit is rejected before it is read.
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
MIN_BYTES_PER_S = 10_000  # in every window of that length
CHARSETS = frozenset({"utf-8", "utf8", "us-ascii"})
SLICE_BYTES = 16_384  # checked without yielding to the event loop, in a few ms at most
STEP_S = 0.1  # chunks this close together are counted as one


class Arrival(Protocol):
    """Observes a body while it arrives; may reject it by raising an error."""

    def expect(self, size: int) -> None:
        """Called with the declared length, if there is one."""

    def receive(self, size: int) -> None:
        """Called with the size of each chunk."""

    def complete(self) -> None:
        """Called after the last byte."""


async def body(
    request: Request,
    *,
    max_bytes: int,
    check: Callable[[bytes], None] | None = None,
    arrival: Arrival | None = None,
) -> bytes:
    """Read a request's body.

    Args:
        request: The request; its body has not been read.
        max_bytes: The size limit.
        check: Called with each slice of at most `SLICE_BYTES`; may reject it.
        arrival: The observer; by default the slot that `ClassifyGate.slot` has acquired, if any.

    Raises:
        RequestTooLarge: The body, or its declared length, is over the limit.
        RequestTooSlow: The body arrives below the minimum rate.
        RequestError: The connection was closed before the body was complete.
    """
    received = io.BytesIO()
    async for chunk in chunks(request, max_bytes=max_bytes, arrival=arrival):
        received.write(chunk)
        if check is not None:
            await in_slices(chunk, check)
    return received.getvalue()  # without a copy


def chunks(
    request: Request, *, max_bytes: int, arrival: Arrival | None = None
) -> AsyncIterator[bytes]:
    """Iterate over a request's body as it arrives; see `body`."""
    receive = limited(request, request.receive, max_bytes, arrival)
    return Request(request.scope, receive).stream()


async def in_slices(chunk: bytes, process: Callable[[bytes], None]) -> None:
    """Process a chunk in slices, and yield to the event loop after each."""
    for start in range(0, len(chunk), SLICE_BYTES):
        process(chunk[start : start + SLICE_BYTES])
        await anyio.lowlevel.checkpoint()


def replay(data: bytes, receive: Receive) -> Receive:
    """Receive the messages of a request whose body was read already, beginning with the body."""
    messages = iter([{"type": "http.request", "body": data, "more_body": False}])

    async def next_message() -> Message:
        return next(messages, None) or await receive()

    return next_message


def limited(
    connection: HTTPConnection, receive: Receive, max_bytes: int, arrival: Arrival | None = None
) -> Receive:
    """Wrap `receive` with the limits of `body`.

    The message after the body has no time limit: it reports that the client disconnected.

    Raises:
        RequestTooLarge: The declared length is over the limit.
    """
    arrival = arrival or connection.scope.get("state", {}).get("arrival")
    declared = declared_length(connection)
    if declared is not None and declared > max_bytes:
        raise too_large(max_bytes)
    if arrival is not None and declared is not None:
        arrival.expect(declared)
    pace, received, complete = MinimumRate(), 0, False

    async def next_message() -> Message:
        nonlocal received, complete
        if complete:
            return await receive()
        started_at = time.monotonic()
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
        pace.arrived(size, time.monotonic() - started_at)
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
    """The declared length of a request's body; None if it is unknown.

    Raises:
        RequestError: The Content-Length is not a number.
    """
    declared = connection.headers.get("content-length")
    if declared is None:
        return None
    if not declared.isascii() or not declared.isdecimal():
        raise RequestError("The Content-Length is not a number.")
    return int(declared[:20])


def check_charset(connection: HTTPConnection) -> None:
    """Require UTF-8: other codecs, such as unicode_escape, can decode to invalid text.

    Raises:
        RequestError: The charset is another.
    """
    options = parse_options_header(connection.headers.get("content-type"))[1]
    charset = options.get(b"charset", b"utf-8").decode("latin-1")
    if charset.lower() not in CHARSETS:
        raise RequestError(f"The charset is {charset!r}; only utf-8 is accepted.")


def too_large(max_bytes: int) -> RequestTooLarge:
    """The error for a body over its limit."""
    return RequestTooLarge(f"The request has more than the limit of {max_bytes / 1e6:.3g} MB.")


class MinimumRate:
    """Time limit for the next bytes of a body, so that no window is below the minimum rate.

    Only time that the server spends waiting for the client counts.
    """

    def __init__(self) -> None:
        self._needed = WINDOW_S * MIN_BYTES_PER_S
        # The latest chunks that together are enough; the start counts as one of them.
        self._recent = deque([[0.0, self._needed]])
        self._sum = self._needed
        self._waited = 0.0

    @property
    def patience_s(self) -> float:
        """Seconds until the rate falls below the minimum if nothing arrives."""
        return max(0.0, self._recent[0][0] + WINDOW_S - self._waited)

    def arrived(self, size: int, waited_s: float) -> None:
        """Count received bytes and the time spent waiting for them."""
        self._waited += waited_s
        if self._waited - self._recent[-1][0] < STEP_S and len(self._recent) > 1:
            self._recent[-1][1] += size
        else:
            self._recent.append([self._waited, size])
        self._sum += size
        while self._sum - self._recent[0][1] >= self._needed:
            self._sum -= self._recent.popleft()[1]
