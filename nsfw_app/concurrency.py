"""Bounded concurrency: CPU slots that decoding and models share, ordered map, reading ahead."""

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from enum import IntEnum
from itertools import islice
from typing import TypeVar, cast

from nsfw_app.errors import Overloaded

Item = TypeVar("Item")
Result = TypeVar("Result")


class Priority(IntEnum):
    """The order in which callers get a slot; the highest goes first."""

    BACKGROUND = 0  # work in small parts that gives way to all other
    DECODING = 1  # work that leads to a request of the model
    REQUEST = 2  # work that a caller waits for already


class CpuSlots:
    """A semaphore with priority: CPU threads that decoding and models share.

    A caller gets a slot only while no caller of a higher priority waits for one.

    Args:
        count: How many threads may compute at once.
    """

    def __init__(self, count: int) -> None:
        self._free = count
        self._lock = threading.Lock()
        self._conditions = {priority: threading.Condition(self._lock) for priority in Priority}
        self._waiting = dict.fromkeys(Priority, 0)

    @contextmanager
    def acquire(self, priority: Priority = Priority.DECODING) -> Iterator[None]:
        """Wait for a slot and hold it until the block ends.

        Args:
            priority: Who goes first of those that wait.
        """
        condition = self._conditions[priority]
        with condition:
            self._waiting[priority] += 1
            try:
                condition.wait_for(lambda: self._free and self._first_waiting() is priority)
            finally:
                self._waiting[priority] -= 1
            self._free -= 1
            self._notify_next()
        try:
            yield
        finally:
            self._release()

    @contextmanager
    def acquire_now(self) -> Iterator[bool]:
        """Hold a slot until the block ends if one is free and no caller waits; yield whether."""
        with self._lock:
            held = self._free > 0 and self._first_waiting() is None
            self._free -= held
        try:
            yield held
        finally:
            if held:
                self._release()

    def _release(self) -> None:
        with self._lock:
            self._free += 1
            self._notify_next()

    def _first_waiting(self) -> Priority | None:
        return max((p for p, callers in self._waiting.items() if callers), default=None)

    def _notify_next(self) -> None:
        """Wake one waiting caller if a slot is free."""
        first = self._first_waiting()
        if self._free and first is not None:
            self._conditions[first].notify()


def map_ordered(
    act: Callable[[Item], Result], items: Iterable[Item], *, concurrency: int
) -> Generator[Result, None, None]:
    """Apply a function to items in threads; results come in the order of the items.

    - At most `2 * concurrency` results are computed ahead of the consumer.
    - A call that raises `Overloaded` is repeated after the time that the error names.

    Args:
        act: Called in several threads.
        items: Any number of them, taken lazily.
        concurrency: How many calls run at once.
    """
    items = iter(items)
    with ThreadPoolExecutor(concurrency, thread_name_prefix="ahead") as workers:

        def submit(item: Item) -> Future[Result]:
            return workers.submit(_retry_on_overload, act, item)

        futures = deque(map(submit, islice(items, 2 * concurrency)))
        try:
            while futures:
                result = futures.popleft().result()
                futures.extend(map(submit, islice(items, 1)))
                yield result
        finally:  # also when the consumer stops early
            workers.shutdown(wait=False, cancel_futures=True)


def read_ahead(items: Iterable[Item], *, count: int) -> Generator[Item, None, None]:
    """Iterate in a thread, at most `count` items ahead of the consumer."""
    remaining, end = iter(items), object()
    with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as worker:

        def submit() -> Future[Item | object]:
            return worker.submit(next, remaining, end)

        futures = deque(submit() for _ in range(count))
        try:
            while (item := futures.popleft().result()) is not end:
                futures.append(submit())
                yield cast(Item, item)
        finally:  # also when the consumer stops early
            worker.shutdown(wait=False, cancel_futures=True)


def _retry_on_overload(act: Callable[[Item], Result], item: Item) -> Result:
    while True:
        try:
            return act(item)
        except Overloaded as error:
            time.sleep(error.retry_after_s)
