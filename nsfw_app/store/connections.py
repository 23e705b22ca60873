"""Connections to the database: one for each thread, and transactions that write."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from nsfw_app.migrations import migrations
from nsfw_app.records import utc

BUSY_TIMEOUT_S = 10.0


def now() -> str:
    """The time in UTC, ISO 8601, to the millisecond."""
    return utc(datetime.now(UTC).isoformat())


CACHE_KB = 256  # of each thread; the system caches the file for all of them


class Connections:
    """A database file, made and migrated when needed.

    Args:
        path: The SQLite file.
        journal_mode: `wal` on a local disk, `delete` on a network mount.
    """

    def __init__(self, path: Path, *, journal_mode: str) -> None:
        self._path = path
        self._local = threading.local()
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._set_journal(journal_mode)
        with self.writing() as db:
            migrations.apply(db)

    def _set_journal(self, journal_mode: str) -> None:
        """SQLite itself does not wait for the lock that a change of journal needs."""
        deadline = time.monotonic() + BUSY_TIMEOUT_S
        while self.row("pragma journal_mode")["journal_mode"] != journal_mode:
            try:
                self.db.execute(f"pragma journal_mode = {journal_mode}")
            except sqlite3.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    @property
    def db(self) -> Database:
        """This thread's connection."""
        if not hasattr(self._local, "db"):
            connection = sqlite3.connect(self._path, timeout=BUSY_TIMEOUT_S)
            connection.row_factory = sqlite3.Row
            connection.execute("pragma synchronous = full")  # a commit survives a power cut
            connection.execute("pragma foreign_keys = on")
            connection.execute("pragma secure_delete = on")  # what is deleted is overwritten
            connection.execute(f"pragma cache_size = -{CACHE_KB}")
            self._local.db = Database(connection)
        db: Database = self._local.db
        return db

    @contextmanager
    def writing(self) -> Iterator[Database]:
        """A transaction that may write, committed when the block ends without an error.

        It takes the write lock at once: one that read first could not wait for the lock later.
        """
        db = self.db
        db.execute("begin immediate")
        try:
            yield db
        except BaseException:
            db.rollback()
            raise
        db.commit()

    def row(self, sql: str, values: Any = ()) -> Any:
        """The first row, or None."""
        return self.db.execute(sql, values).fetchone()
