"""Fair worker threads: callers take turns, and a cancelled call holds no thread."""

import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

import anyio
import anyio.lowlevel
import pytest

from nsfw_app.web.http.fair_threads import FairThreads


def run(function: Callable[[], Awaitable[None]]) -> None:
    """Run in a thread without an event loop: the browser tests keep one in this thread."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(anyio.run, function).result()


def test_callers_take_turns() -> None:
    """While threads are busy, waiting calls are taken from each caller in turn."""
    order: list[str] = []
    go = threading.Event()

    async def check() -> None:
        threads = FairThreads(1)
        async with anyio.create_task_group() as group:
            group.start_soon(threads.run, "first", go.wait)
            await anyio.wait_all_tasks_blocked()
            for caller, calls in (("ann", 4), ("bob", 2), ("cid", 1)):
                for number in range(calls):
                    note = f"{caller}{number}"
                    group.start_soon(threads.run, caller, lambda note=note: order.append(note))
                    await anyio.lowlevel.checkpoint()
            go.set()

    run(check)
    assert order == ["ann0", "bob0", "cid0", "ann1", "bob1", "ann2", "ann3"]


def test_no_thread_is_lost() -> None:
    """After errors and cancellations, waiting or running, all threads are available."""

    def fail() -> None:
        raise KeyError

    async def check() -> None:
        threads = FairThreads(2)
        go = threading.Event()
        for _ in range(3):
            with pytest.raises(KeyError):
                await threads.run("ann", fail)
        async with anyio.create_task_group() as group:
            for _ in range(2):
                group.start_soon(threads.run, "ann", go.wait)
            await anyio.wait_all_tasks_blocked()
            with anyio.move_on_after(0.01) as waiting:
                await threads.run("bob", go.wait)
            assert waiting.cancelled_caught
            go.set()
        both = threading.Barrier(2, timeout=10)
        async with anyio.create_task_group() as group:
            for _ in range(2):
                group.start_soon(threads.run, "cid", both.wait)

    run(check)
