"""Copies of the database, consistent while the server writes to it.

- A copy is one file. To copy `review.db` with the tools of the system loses what is in its
  write-ahead log.
- In WAL mode a copy blocks neither readers nor writers.
"""

import os
import sqlite3
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from nsfw_app import private_files
from nsfw_app.private_files import storage_errors
from nsfw_app.store.connections import Connections
from nsfw_app.store.database_files import DatabaseFacts, read_facts
from nsfw_app.store.sqlite_errors import storage_error

ABANDONED_S = 86_400  # a copy that is not removed after a day is of a killed process


@dataclass(frozen=True, slots=True)
class DatabaseCopy:
    """A consistent copy of a database: a file, what it has, and the key of its secrets.

    `key` is None while no secret is stored.
    """

    path: Path
    facts: DatabaseFacts
    key: bytes | None


class DatabaseCopies:
    """Makes copies of an open database.

    Args:
        connections: The database.
        database: Its file; copies are next to it, so that they are as private.
        key_file: The file of the key of its secrets.
    """

    def __init__(self, connections: Connections, database: Path, *, key_file: Path) -> None:
        self._connections = connections
        self._database = database
        self._key_file = key_file

    def state(self) -> object:
        """A value that is equal while nothing was committed; compare it within one thread."""
        version = self._connections.row("pragma data_version")[0]
        return self._connections.db.conn, version

    @contextmanager
    def copied(self) -> Iterator[DatabaseCopy]:
        """A copy of the database as it is now; deleted when the block ends.

        Raises:
            StorageError: It cannot be written, or the database cannot be read.
        """
        connection = self._connections.db.conn
        with copied(connection, self._database, self._key_file) as copy:
            yield copy


@contextmanager
def copied_file(database: Path, key_file: Path) -> Iterator[DatabaseCopy]:
    """A copy of a database that no process has open, of any version.

    Raises:
        StorageError: It cannot be written, or the database cannot be read.
    """
    with closing(_connect(database)) as connection, copied(connection, database, key_file) as copy:
        yield copy


@contextmanager
def copied(
    connection: sqlite3.Connection, database: Path, key_file: Path
) -> Iterator[DatabaseCopy]:
    """A copy of the database that a connection has open; deleted when the block ends."""
    _forget_abandoned(database)
    path = database.with_name(f"{database.name}.copy-{uuid.uuid4().hex}")
    try:
        with storage_errors():
            os.close(os.open(path, os.O_CREAT | os.O_EXCL, private_files.FILE_MODE))
        try:
            with closing(_connect(path)) as target:
                connection.backup(target)
                target.execute("pragma journal_mode = delete")  # one file, also where it was WAL
        except sqlite3.Error as error:
            raise storage_error(error, database) or error from error
        with storage_errors():
            key = key_file.read_bytes() if key_file.exists() else None
        yield DatabaseCopy(path, read_facts(path), key)
    finally:
        for suffix in ("", "-journal"):
            with suppress(OSError):
                path.with_name(path.name + suffix).unlink()


def _connect(path: Path) -> sqlite3.Connection:
    try:
        return sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)
    except sqlite3.Error as error:
        raise storage_error(error, path) or error from error


def _forget_abandoned(database: Path) -> None:
    """Delete copies that killed processes have left."""
    for path in database.parent.glob(f"{database.name}.copy-*"):
        with suppress(OSError):
            if path.stat().st_mtime < time.time() - ABANDONED_S:
                path.unlink()
