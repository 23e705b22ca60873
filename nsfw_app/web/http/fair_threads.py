"""Worker threads with fair scheduling: waiting calls are taken from each caller in turn."""

from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import anyio
import anyio.to_thread

T = TypeVar("T")


class FairThreads:
    """Runs functions in a limited number of threads, round-robin over callers.

    - While all threads are busy, calls wait in one queue per caller, and the queues take turns.
    - Calls of one caller keep their order.
    - Must be used from one event loop.

    Args:
        threads: The most functions that run at once.
    """

    def __init__(self, threads: int) -> None:
        self._limiter = anyio.CapacityLimiter(threads)
        self._free = threads
        self._waiting: OrderedDict[str, deque[anyio.Event]] = OrderedDict()

    async def run(self, caller: str, function: Callable[[], T]) -> T:
        """Call a function in a thread when it is the caller's turn."""
        await self._acquire(caller)
        try:
            return await anyio.to_thread.run_sync(function, limiter=self._limiter)
        finally:
            self._release()

    async def _acquire(self, caller: str) -> None:
        if self._free:  # then no call waits
            self._free -= 1
            return
        turn = anyio.Event()
        self._waiting.setdefault(caller, deque()).append(turn)
        try:
            await turn.wait()
        except BaseException:  # cancelled
            if turn.is_set():
                self._release()
            else:
                self._forget(caller, turn)
            raise

    def _release(self) -> None:
        if not self._waiting:
            self._free += 1
            return
        caller, turns = self._waiting.popitem(last=False)
        turns.popleft().set()
        if turns:
            self._waiting[caller] = turns  # behind all others

    def _forget(self, caller: str, turn: anyio.Event) -> None:
        with suppress(ValueError):
            self._waiting[caller].remove(turn)
        if not self._waiting[caller]:
            del self._waiting[caller]
