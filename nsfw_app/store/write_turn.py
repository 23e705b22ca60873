"""The order in which threads of this process write to the database."""

import threading
from collections import deque
from collections.abc import Callable

STEP_S = 0.25  # how often a waiting thread checks whether it should go on waiting


class WriteTurn:
    """A lock that is handed over to those who wait, in order; those in the background come last.

    People wait for decisions and claims; images that programs send can wait for these, so that a
    backlog of them does not delay a shift.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held = False
        self._waiting: tuple[deque[threading.Event], deque[threading.Event]] = (deque(), deque())

    def acquire(self, *, background: bool, goes_on: Callable[[], bool]) -> bool:
        """Wait for the turn.

        Args:
            background: Let others go before.
            goes_on: Whether to go on waiting; called several times a second.

        Returns:
            Whether this thread has the turn, and must release it.
        """
        turn = threading.Event()
        with self._lock:
            if not self._held:
                self._held = True
                return True
            self._waiting[background].append(turn)
        while not turn.wait(STEP_S):
            if goes_on():
                continue
            with self._lock:
                if turn.is_set():
                    return True
                self._waiting[background].remove(turn)
                return False
        return True

    def release(self) -> None:
        """Hand the turn over to the next thread."""
        with self._lock:
            for turns in self._waiting:
                if turns:
                    turns.popleft().set()
                    return
            self._held = False
