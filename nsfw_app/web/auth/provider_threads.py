"""Threads of their own for requests to an OpenID Connect provider.

A provider that hangs then delays other sign-ins with it, and neither the page nor passwords.
"""

from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

import anyio
import anyio.to_thread

from nsfw_app.errors import Overloaded

P = ParamSpec("P")
T = TypeVar("T")

AT_ONCE = 8  # each waits for the network; a sign-in takes some 100 ms
WAITING = 100
RETRY_AFTER_S = 5


class ProviderThreads:
    """Runs functions that call the provider, a limited number at once, with a limited queue."""

    def __init__(self) -> None:
        self._limiter = anyio.CapacityLimiter(AT_ONCE)

    async def run(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function in a thread.

        Raises:
            Overloaded: Too many calls are waiting.
        """
        if self._limiter.statistics().tasks_waiting >= WAITING:
            raise Overloaded(
                f"{WAITING} sign-ins are waiting for the provider already. Try again in a moment.",
                retry_after_s=RETRY_AFTER_S,
            )
        call = partial(function, *args, **kwargs)
        return await anyio.to_thread.run_sync(call, limiter=self._limiter)
