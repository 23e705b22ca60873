"""Waits for the database lock: how much longer they take than the lock is held, and turns."""

import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from nsfw_app.errors import StorageError, StorageErrorKind
from nsfw_app.store import Store, lock_waits, write_turn
from nsfw_app.store import connections as connections_module
from nsfw_app.store.lock_waits import LockWaits
from tests.support.sample_records import add_image


@pytest.mark.parametrize(
    ("held_ms", "most_ms"), [(0.1, 0.2), (0.4, 0.5), (0.9, 1.0), (1.5, 2.0), (4.9, 5.0), (6, 7)]
)
def test_a_lock_is_obtained_soon_after_it_is_free(
    held_ms: float, most_ms: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a claim, a statement waits 0.3 ms longer at most; behind a decision, 1 ms."""
    clock_s = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock_s[0])
    monkeypatch.setattr(time, "sleep", lambda pause_s: clock_s.append(clock_s.pop() + pause_s))

    def execute() -> str:
        if clock_s[0] * 1_000 < held_ms:
            error = sqlite3.OperationalError("database is locked")
            error.sqlite_errorcode = sqlite3.SQLITE_BUSY
            raise error
        return "executed"

    assert LockWaits(5).until_unlocked(execute) == "executed"
    assert clock_s[0] * 1_000 <= most_ms + 1e-6


def test_threads_of_one_process_take_turns(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next thread writes when the one before it ends; none finds the database locked."""
    pauses: list[float] = []
    monkeypatch.setattr(lock_waits.time, "sleep", pauses.append)
    connections, wrote = store._connections, []

    def write(number: int) -> None:
        with connections.writing() as db:
            db.execute("update images set format = format")
            wrote.append(number)

    with connections.writing():
        threads = [threading.Thread(target=write, args=[number]) for number in range(4)]
        for thread in threads:
            thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(wrote) == [0, 1, 2, 3]
    assert pauses == []


def test_a_thread_does_not_wait_for_its_turn_behind_a_stuck_process(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While another process holds the lock, every thread waits by the rules of `LockWaits`."""
    monkeypatch.setattr(write_turn, "STEP_S", 0.01)
    monkeypatch.setattr(connections_module, "STALLED_S", 0.02)
    monkeypatch.setattr(store._connections._waits, "_limit_s", 0.05)
    with closing(sqlite3.connect(tmp_path / "review.db", isolation_level=None)) as other:
        other.execute("begin immediate")
        errors: list[StorageErrorKind] = []

        def write() -> None:
            try:
                with store._connections.writing():
                    pass
            except StorageError as error:
                errors.append(error.reason)

        threads = [threading.Thread(target=write) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert errors == [StorageErrorKind.BUSY] * 4
    with store._connections.writing():
        pass


def test_a_checkpoint_leaves_nothing_for_a_commit(store: Store) -> None:
    """It moves all pages of the write-ahead log, while another thread has the write lock."""
    add_image(store)
    moved: list[tuple[int, int]] = []

    def checkpoint() -> None:
        store.checkpoint()
        row = store._connections.row("pragma wal_checkpoint(passive)")
        moved.append((row["log"], row["checkpointed"]))

    with store._connections.writing():
        thread = threading.Thread(target=checkpoint)
        thread.start()
        thread.join(10)
    ((pages, checkpointed),) = moved
    assert pages == checkpointed > 0


def test_writers_in_the_background_come_last(store: Store) -> None:
    """While one thread writes, those that people wait for go first, each kind in its order."""
    connections, wrote = store._connections, []

    def write(name: str, background: bool) -> None:
        with connections.writing(background=background) as db:
            db.execute("update images set format = format")
            wrote.append(name)

    writers = [("image 1", True), ("decision 1", False), ("image 2", True), ("decision 2", False)]
    threads = [threading.Thread(target=write, args=writer) for writer in writers]
    with connections.writing():
        for number, thread in enumerate(threads, start=1):
            thread.start()
            while sum(map(len, connections._turn._waiting)) < number:
                time.sleep(0.001)
    for thread in threads:
        thread.join(10)
    assert wrote == ["decision 1", "decision 2", "image 1", "image 2"]
