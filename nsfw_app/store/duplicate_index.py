"""Temporary index of images by hash: in which file, and in which row of it, an image is.

- It is a database of SQLite's own temporary files, which even a killed process does not leave.
- It may be used by several threads.
"""

import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from nsfw_app.errors import StorageError, StorageErrorKind
from nsfw_app.store.sqlite_errors import KINDS

TEMPORARY = ""  # as a name: a private file that is deleted when it is closed
CACHE_KB = 16_384
PRAGMAS = (
    "journal_mode = off",
    "synchronous = off",
    "locking_mode = exclusive",
    f"cache_size = -{CACHE_KB}",
)


class DuplicateIndex:
    """Maps the SHA-256 of an image to the number of a file and of a row."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(TEMPORARY, check_same_thread=False, isolation_level=None)
        for pragma in PRAGMAS:
            self._connection.execute(f"pragma {pragma}")
        self._connection.execute(
            "create table image (sha256 blob primary key, file integer not null, "
            "row integer not null) without rowid"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Delete it."""
        with self._lock:
            self._connection.close()

    def add(self, images: Iterable[tuple[str, int, int]]) -> None:
        """Add images: hash, file, row. Of equal hashes the last one counts.

        Raises:
            StorageError: The disk of temporary files is full.
        """
        values = ((bytes.fromhex(sha256), file, row) for sha256, file, row in images)
        with self._transaction() as connection:
            connection.executemany(
                "insert or replace into image (sha256, file, row) values (?, ?, ?)", values
            )

    def add_new(self, hashes: Iterable[str]) -> list[bool]:
        """Add hashes without file and row; of each, whether it was not there.

        Raises:
            StorageError: The disk of temporary files is full.
        """
        with self._transaction() as connection:
            return [
                connection.execute(
                    "insert or ignore into image (sha256, file, row) values (?, 0, 0)",
                    (bytes.fromhex(sha256),),
                ).rowcount
                == 1
                for sha256 in hashes
            ]

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Commit what the block adds."""
        try:
            with self._lock:
                self._connection.execute("begin")
                yield self._connection
                self._connection.execute("commit")
        except sqlite3.Error as error:
            kind = KINDS.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
            raise StorageError(kind or StorageErrorKind.FAILED) from error

    def find(self, sha256: str) -> tuple[int, int] | None:
        """File and row of an image; None where it has not been added."""
        with self._lock:
            found: tuple[int, int] | None = self._connection.execute(
                "select file, row from image where sha256 = ?", (bytes.fromhex(sha256),)
            ).fetchone()
        return found
