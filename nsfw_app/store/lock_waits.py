"""Waits for the database lock, bounded in time and in the number of threads."""

import sqlite3
import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})
# Between attempts; the last one is repeated. A claim holds the lock for about 0.4 ms, a decision
# until it is on disk, which takes some milliseconds.
PAUSES_S = (0.0002, 0.0003, 0.0005, *[0.001] * 4, 0.002, 0.005, 0.01, 0.02)
STALLED_S = 1.0  # a lock that no waiting thread obtained for so long is held by a stuck process
LONGEST_WAIT_S = 30.0  # also while other threads get the lock
MAX_STALLED_THREADS = 8  # that go on waiting then; a fifth of the threads that serve requests


def is_busy(error: sqlite3.Error) -> bool:
    """Whether another connection held a lock that this statement needed."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in BUSY


class LockWaits:
    """Repeats statements that find the database locked.

    - While the lock moves from one transaction to the next, any number of threads waits for it,
      each for `LONGEST_WAIT_S` at most.
    - Once no thread has obtained it for `STALLED_S`, only `MAX_STALLED_THREADS` keep waiting, so
      that one stuck process cannot occupy every thread of the server. After `limit_s` none does.

    Args:
        limit_s: How long to wait for a lock that no thread obtains, in seconds.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._lock = threading.Lock()
        self._waiting = 0
        self._progress = 0.0  # when the first thread began to wait, or one last obtained the lock

    def until_unlocked(self, execute: Callable[[], T]) -> T:
        """Execute a statement, and retry while the database is locked.

        Raises:
            sqlite3.OperationalError: It was locked until the wait ended, or another error occurred.
        """
        try:
            return execute()
        except sqlite3.OperationalError as error:
            if not is_busy(error):
                raise
        with self._lock:
            if not self._waiting:
                self._progress = time.monotonic()
            self._waiting += 1
        try:
            return self._repeated(execute)
        finally:
            with self._lock:
                self._waiting -= 1

    def _repeated(self, execute: Callable[[], T]) -> T:
        started = time.monotonic()
        attempt = 0
        while True:
            time.sleep(PAUSES_S[min(attempt, len(PAUSES_S) - 1)])
            attempt += 1
            try:
                result = execute()
            except sqlite3.OperationalError as error:
                if not is_busy(error) or self._is_over(started):
                    raise
            else:
                with self._lock:
                    self._progress = time.monotonic()
                return result

    def _is_over(self, started: float) -> bool:
        moment = time.monotonic()
        with self._lock:
            stalled_s = moment - self._progress
            own_s = moment - started
            crowded = stalled_s > STALLED_S and self._waiting > MAX_STALLED_THREADS
            return crowded or min(own_s, stalled_s) > self._limit_s or own_s > LONGEST_WAIT_S
