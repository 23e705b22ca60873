"""Reading ahead: in order, in a thread, not further than asked for."""

import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from nsfw_app.concurrency import read_ahead


def test_items_come_in_order_from_another_thread() -> None:
    """All of them, and none for an empty iterable."""
    threads = set()

    def items() -> Iterator[int]:
        for number in range(100):
            threads.add(threading.current_thread().name)
            yield number

    assert list(read_ahead(items(), count=3)) == list(range(100))
    assert threading.current_thread().name not in threads
    assert list(read_ahead([], count=3)) == []


def test_at_most_count_items_are_taken_ahead() -> None:
    """Also when the consumer stops early."""
    taken = []

    def items() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    with closing(read_ahead(items(), count=2)) as ahead:
        assert next(ahead) == 0
    assert len(taken) <= 4


def test_an_error_of_the_items_reaches_the_consumer() -> None:
    """After the items before it."""

    def items() -> Iterator[int]:
        yield 1
        raise RuntimeError("listing failed")

    ahead = read_ahead(items(), count=2)
    assert next(ahead) == 1
    with pytest.raises(RuntimeError, match="listing failed"):
        next(ahead)
