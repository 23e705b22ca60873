"""Bounded concurrency: CPU slots that decoding and models share, ordered map, reading ahead."""

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar, cast

from nsfw_app.errors import Overloaded

Item = TypeVar("Item")
Result = TypeVar("Result")


class CpuSlots:
    """A semaphore with priority: CPU threads that decoding and models share.

    Args:
        count: How many threads may compute at once.
    """

    def __init__(self, count: int) -> None:
        self._free = count
        self._priority_waiters = 0
        lock = threading.Lock()
        self._priority, self._others = threading.Condition(lock), threading.Condition(lock)

    @contextmanager
    def acquire(self, *, priority: bool = False) -> Iterator[None]:
        """Wait for a slot and hold it until the block ends.

        Args:
            priority: Go before callers without priority, for work that others wait for already.
        """
        condition = self._priority if priority else self._others
        with condition:
            self._priority_waiters += priority
            condition.wait_for(lambda: self._free and (priority or not self._priority_waiters))
            self._priority_waiters -= priority
            self._free -= 1
            self._notify_next()
        try:
            yield
        finally:
            with condition:
                self._free += 1
                self._notify_next()

    def _notify_next(self) -> None:
        """Wake one waiting caller if a slot is free."""
        if self._free:
            (self._priority if self._priority_waiters else self._others).notify()


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
