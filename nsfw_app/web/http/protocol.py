"""HTTP/1.1 as uvicorn speaks it, with limits on what is not a body.

uvicorn keeps headers of any size, and waits for them without end. Here a request's head must be
complete within `HEAD_S` and `HEAD_BYTES`, the overhead of a chunked body (extensions, trailers) is
in proportion to its content, and a body that is still sent after the response is read only so far.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_S = 10.0  # from the connection, or from the first byte of a later request
HEAD_BYTES = 65_536  # nginx allows 32 kB
OVERHEAD = 8  # bytes for one of a body; chunks of a single byte have 5
DISCARDED_BYTES = 256_000_000  # so that a client that reads nothing before it has sent all can read
RESPONSE = (
    b"HTTP/1.1 %s\r\ncontent-type: text/plain; charset=utf-8\r\nconnection: close\r\n"
    b"content-length: %d\r\n\r\n%s"
)


class LimitedHttp(HttpToolsProtocol):
    """One connection; see the module."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_head = True
        self._not_body = 0  # bytes of this request so far that are not its body
        self._body = 0
        self._discarded = 0
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._start_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_timer()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Begin to read a request's head."""
        super().on_message_begin()
        self._not_body = self._body = self._discarded = 0
        self._start_head()

    def on_headers_complete(self) -> None:
        """Go on to the body."""
        self._in_head = False
        self._stop_timer()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take some of the body; after the response it is discarded."""
        self._body += len(body)
        if self.cycle.response_complete:
            self._discarded += len(body)
            if self._discarded > DISCARDED_BYTES:
                self.transport.close()
        super().on_body(body)

    def data_received(self, data: bytes) -> None:
        """Take bytes of any part of requests, and check their limits."""
        was_in_head, body = self._in_head, self._body
        super().data_received(data)
        if self.transport.is_closing() or was_in_head is not self._in_head:
            return
        if self._in_head:
            self._not_body += len(data)
            if self._not_body > HEAD_BYTES:
                self._refuse(
                    b"431 Request Header Fields Too Large",
                    b"The headers have more than %d bytes." % HEAD_BYTES,
                )
        elif self._body >= body:  # still the same request
            self._not_body += len(data) - (self._body - body)
            if self._not_body > HEAD_BYTES + OVERHEAD * self._body:
                self.transport.close()

    def _start_head(self) -> None:
        self._in_head = True
        self._stop_timer()
        self._head_timer = self.loop.call_later(HEAD_S, self._head_timeout)

    def _head_timeout(self) -> None:
        if not self._not_body:  # a browser's spare connection, which expects no response
            self.transport.close()
            return
        self._refuse(b"408 Request Timeout", b"The headers did not arrive within %g s." % HEAD_S)

    def _refuse(self, status: bytes, message: bytes) -> None:
        self._stop_timer()
        if not self.transport.is_closing():
            self.transport.write(RESPONSE % (status, len(message), message))
            self.transport.close()

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
