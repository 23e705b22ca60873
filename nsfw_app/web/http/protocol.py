"""HTTP/1.1 protocol of uvicorn with limits on headers, overhead and discarded bodies.

uvicorn limits neither the size of headers nor the time they take, and closes a connection while
the client is still sending, which resets it and destroys the response.

- The head of a request must be complete within `HEAD_S` and `HEAD_BYTES`.
- The overhead of a chunked body (extensions, trailers) is limited in proportion to its content.
- A body that continues after the response is discarded, up to `DISCARDED_BYTES` and `DISCARD_S`.
- A connection that closes before the whole body has arrived is closed in two steps (lingering
  close): the sending direction at once, the other when the client closes it or a limit is reached.
  At most `MAX_LINGERING` connections do so at once; further ones are reset.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

HEAD_S = 10.0  # from the connection, or from the first byte of a later request
HEAD_BYTES = 65_536  # nginx allows 32 kB
HEADER_OVERHEAD = len(": \r\n")
OVERHEAD = 8  # bytes for each byte of a body; chunks of a single byte have 5
DISCARDED_BYTES = 256_000_000  # so that a client that reads only after sending gets its response
DISCARD_S = 30.0  # nginx's lingering_time
MAX_LINGERING = 256  # connections
RESPONSE = (
    b"HTTP/1.1 %s\r\ncontent-type: text/plain; charset=utf-8\r\nconnection: close\r\n"
    b"content-length: %d\r\n\r\n%s"
)


class LimitedHttp(HttpToolsProtocol):
    """One connection; see the module docstring."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_head = True
        self._request_started = False
        self._request_complete = False
        self._head_bytes = 0  # of the URL and the complete headers
        self._not_body = 0  # bytes of this request so far that are not its body
        self._body = 0
        self._discarded = 0
        self._lingering = False
        self._head_timer: asyncio.TimerHandle | None = None
        self._discard_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start waiting for the first request."""
        super().connection_made(transport)
        self._start_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all timers."""
        self._stop_timers()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Start reading the head of a request."""
        super().on_message_begin()
        self._start_head()
        self._request_started = True

    def on_url(self, url: bytes) -> None:
        """Add part of the request target."""
        self._count_head(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a complete header."""
        self._count_head(len(name) + len(value) + HEADER_OVERHEAD)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Start the request; its body may follow."""
        self._in_head = False
        self._stop_timers()
        super().on_headers_complete()
        if (cycle := self.cycle) is not None:  # None for a websocket
            cycle.transport = _CycleTransport(
                self.transport, close=lambda: self._close_after(cycle)
            )

    def on_body(self, body: bytes) -> None:
        """Take part of the body; after the response it is discarded."""
        self._body += len(body)
        if self._response_complete:
            self._discard(len(body))
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End the request."""
        self._request_complete = True
        if self._response_complete:
            self._start_head()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Continue with the next request, or discard the rest of this one first."""
        if self._lingering:
            self.server_state.total_requests += 1
            return
        super().on_response_complete()
        if self._response_complete and not self._request_complete:
            self._start_discarding()

    def send_400_response(self, msg: str) -> None:
        """Reject what is not HTTP."""
        self._reject(b"400 Bad Request", msg.encode("ascii"))

    def data_received(self, data: bytes) -> None:
        """Process bytes of any part of requests within the limits."""
        if self._lingering:
            self._discard(len(data))
            return
        was_in_head, body = self._in_head, self._body
        super().data_received(data)
        if self._lingering or self.transport.is_closing() or was_in_head is not self._in_head:
            return
        if self._in_head:  # a header that never ends is counted here only
            self._not_body += len(data)
            if self._not_body > HEAD_BYTES:
                self._reject_head()
        elif self._body >= body:  # still the same request
            self._not_body += len(data) - (self._body - body)
            if self._not_body > HEAD_BYTES + OVERHEAD * self._body:
                self.transport.close()

    @property
    def _response_complete(self) -> bool:
        """Whether the request that is being received has its response already."""
        cycle = self.cycle
        return cycle is not None and cycle.scope is self.scope and cycle.response_complete

    def _count_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > HEAD_BYTES:
            self._reject_head()
            raise ValueError("The head of the request is too large.")  # stops the parser

    def _start_head(self) -> None:
        self._in_head, self._request_started, self._request_complete = True, False, False
        self._head_bytes = self._not_body = self._body = self._discarded = 0
        self._stop_timers()
        self._head_timer = self.loop.call_later(HEAD_S, self._head_timeout)

    def _head_timeout(self) -> None:
        if not self._request_started:  # a browser's spare connection, which expects no response
            self.transport.close()
            return
        self._reject(b"408 Request Timeout", b"The headers did not arrive within %g s." % HEAD_S)

    def _reject_head(self) -> None:
        self._reject(
            b"431 Request Header Fields Too Large",
            b"The headers have more than %d bytes." % HEAD_BYTES,
        )

    def _reject(self, status: bytes, message: bytes) -> None:
        if self._lingering or self.transport.is_closing():
            return
        if (cycle := self.cycle) is not None and not cycle.response_complete:
            cycle.disconnected = True  # its body will never be complete
            cycle.message_event.set()
            if cycle.response_started:
                self.transport.close()
                return
        self.transport.write(RESPONSE % (status, len(message), message))
        self._linger()

    def _close_after(self, cycle: RequestResponseCycle) -> None:
        received = cycle is self.cycle and self._request_complete
        if cycle.response_complete and not received:
            self._linger()
        else:
            self.transport.close()

    def _linger(self) -> None:
        """Close the sending direction, and discard what still arrives."""
        lingering = sum(getattr(one, "_lingering", False) for one in self.connections)
        if self.transport.is_closing() or lingering >= MAX_LINGERING:
            self.transport.close()
            return
        self._lingering = True
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()
        self._start_discarding()

    def _start_discarding(self) -> None:
        self._stop_timers()
        self._discard_timer = self.loop.call_later(DISCARD_S, self.transport.abort)

    def _discard(self, size: int) -> None:
        self._discarded += size
        if self._discarded > DISCARDED_BYTES:
            self.transport.abort()

    def _stop_timers(self) -> None:
        for timer in (self._head_timer, self._discard_timer):
            if timer is not None:
                timer.cancel()


class _CycleTransport(asyncio.Transport):
    """The transport as one request sees it: the protocol decides how it is closed."""

    def __init__(self, transport: asyncio.Transport, *, close: Callable[[], None]) -> None:
        super().__init__()
        self._transport = transport
        self._close = close

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._transport.write(data)

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def close(self) -> None:
        self._close()
