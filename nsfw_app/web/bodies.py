"""Request bodies, never more than a limit, and never so slow that they keep others out.

A request holds its place while its body arrives; whoever sends less than a modem would is turned
away.
"""

import time

import anyio
from fastapi import Request
from starlette.types import Message, Receive

from nsfw_app.errors import RequestTooLarge, RequestTooSlow

GRACE_S = 10.0
SLOWEST = 10_000  # bytes a second, on average after the grace


async def body(request: Request, *, max_bytes: int) -> bytes:
    """A request's body.

    Raises:
        RequestTooLarge: There is more.
        RequestTooSlow: It does not come.
    """
    received = bytearray()
    async for chunk in Request(request.scope, limited(request.receive, max_bytes)).stream():
        received += chunk
    return bytes(received)


def limited(receive: Receive, max_bytes: int) -> Receive:
    """The same messages of a request, until its body is too large or too slow; see `body`.

    What comes after the body is waited for without end: it tells that the caller has gone.
    """
    begun, received, complete = time.monotonic(), 0, False

    async def next_message() -> Message:
        nonlocal received, complete
        if complete:
            return await receive()
        end = begun + GRACE_S + received / SLOWEST
        try:
            with anyio.fail_after(max(0.0, end - time.monotonic())):
                message = await receive()
        except TimeoutError:
            raise RequestTooSlow(
                f"The request came more slowly than {SLOWEST / 1e3:g} kB a second."
            ) from None
        complete = not message.get("more_body", False)
        received += len(message.get("body", b""))
        if received > max_bytes:
            raise RequestTooLarge(f"The request has more than {max_bytes / 1e6:g} MB.")
        return message

    return next_message
