"""Many things done side by side, no more at once than asked, with results in their order."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

from nsfw_app.errors import Overloaded

Item = TypeVar("Item")
Result = TypeVar("Result")


class CpuSlots:
    """CPU threads that decoding and models share, so that no more work at once than there are.

    Args:
        count: How many there are.
    """

    def __init__(self, count: int) -> None:
        self._free = count
        self._priority_waiters = 0  # priority ones who wait
        lock = threading.Lock()
        self._priority, self._others = threading.Condition(lock), threading.Condition(lock)

    @contextmanager
    def acquire(self, *, priority: bool = False) -> Iterator[None]:
        """One of them, waited for, until the block ends.

        Args:
            priority: Go before those who are not: others wait for what comes of this already.
        """
        mine = self._priority if priority else self._others
        with mine:
            self._priority_waiters += priority
            mine.wait_for(lambda: self._free and (priority or not self._priority_waiters))
            self._priority_waiters -= priority
            self._free -= 1
            self._call_next()
        try:
            yield
        finally:
            with mine:
                self._free += 1
                self._call_next()

    def _call_next(self) -> None:
        """Wake one who waits, if there is a core for them."""
        if self._free:
            (self._priority if self._priority_waiters else self._others).notify()


def map_ordered(
    act: Callable[[Item], Result], items: Iterable[Item], *, concurrency: int
) -> Iterator[Result]:
    """What is made of each item, some of it ahead of what is asked for.

    Whoever is turned away because too much waits already waits as well, and tries again.

    Args:
        act: Makes a result; called in several threads.
        items: Any number of them; as many more are taken as are worked on.
        concurrency: How many are worked on.
    """
    items = iter(items)
    with ThreadPoolExecutor(concurrency, thread_name_prefix="ahead") as workers:

        def begun(item: Item) -> Future[Result]:
            return workers.submit(_retry_on_overload, act, item)

        futures = deque(map(begun, islice(items, 2 * concurrency)))
        try:
            while futures:
                result = futures.popleft().result()
                futures.extend(map(begun, islice(items, 1)))
                yield result
        finally:  # nobody asks for more
            workers.shutdown(wait=False, cancel_futures=True)


def _retry_on_overload(act: Callable[[Item], Result], item: Item) -> Result:
    while True:
        try:
            return act(item)
        except Overloaded as error:
            time.sleep(error.retry_after_s)
