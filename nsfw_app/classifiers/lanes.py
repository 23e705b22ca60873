"""Who computes with which threads: a lone batch with all of them, several at once with one each.

Threads that wait for each other while others want the CPU would waste a third of it.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

Compiled = TypeVar("Compiled")


class Lanes(Generic[Compiled]):
    """One network compiled twice.

    Args:
        together: Computes a batch with all threads.
        apart: Computes as many batches at once as there are threads, with one each.
    """

    def __init__(self, *, together: Compiled, apart: Compiled) -> None:
        self._together = together
        self._apart = apart
        self._running = 0
        self._lock = threading.Lock()

    @contextmanager
    def one(self) -> Iterator[Compiled]:
        """What to compute a batch with, until the block ends."""
        with self._lock:
            compiled = self._apart if self._running else self._together
            self._running += 1
        try:
            yield compiled
        finally:
            with self._lock:
                self._running -= 1
