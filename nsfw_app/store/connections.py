"""Database connections, one for each thread, and transactions.

- What is committed is in the file that lies under the database's path: a file that was deleted,
  moved, unmounted or cut short is noticed before and after each transaction.
- The file is not opened except by SQLite: to close it would drop the process's locks on it.
- A connection with a storage error is replaced, so that everything works again by itself when
  the cause is gone.
- The file is created at start only. An empty database made later would have no users, and so
  would not require anyone to sign in.
"""

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Self, TypeVar, cast

from sqlite_utils import Database

from nsfw_app import private_files
from nsfw_app.errors import StorageError, StorageErrorKind
from nsfw_app.records import utc
from nsfw_app.store.lock_waits import STALLED_S, LockWaits
from nsfw_app.store.migrations import upgrade
from nsfw_app.store.sqlite_errors import storage_error
from nsfw_app.store.write_turn import WriteTurn

T = TypeVar("T")

LOCK_WAIT_S = 5.0  # how long a statement waits for a lock that no thread obtains
CACHE_KB = 256  # per thread; the page cache of the system serves all of them
# Of 4 KiB; a decision writes about 18. The commit that reaches it moves the log into the database,
# unless `checkpoint` does so before, as in the server.
CHECKPOINT_PAGES = 8_000
COMPANIONS = ("-wal", "-shm", "-journal")  # suffixes of SQLite's own files


class Durability(StrEnum):
    """What a commit survives; values of SQLite's `synchronous`, in the WAL."""

    POWER_CUT = "full"  # it is on disk when the transaction returns
    CRASH = "normal"  # of the process; a power cut may undo it, if no other commit followed


PRAGMAS = (
    f"synchronous = {Durability.POWER_CUT}",
    "foreign_keys = on",
    "secure_delete = on",  # deleted content is overwritten
    f"cache_size = -{CACHE_KB}",
    f"wal_autocheckpoint = {CHECKPOINT_PAGES}",
)


def now() -> str:
    """The time in UTC, ISO 8601, to the millisecond."""
    return utc(datetime.now(UTC).isoformat())


class _Cursor(sqlite3.Cursor):
    """A cursor that waits for locks and raises storage errors."""

    def execute(self, sql: str, parameters: Any = (), /) -> Self:
        self._checked.run(lambda: super(_Cursor, self).execute(sql, parameters))
        return self

    def fetchone(self) -> Any:
        return self._checked.run(super().fetchone)

    def fetchall(self) -> list[Any]:
        return self._checked.run(super().fetchall)

    def __next__(self) -> Any:
        return self._checked.run(super().__next__)

    @property
    def _checked(self) -> "_Connection":
        connection = self.connection
        if not isinstance(connection, _Connection):
            raise TypeError(f"{connection} is not a connection of the store.")
        return connection


class _Connection(sqlite3.Connection):
    """A thread's connection, and the identity of the files that it has open."""

    path: Path
    waits: LockWaits
    files: tuple[tuple[int, int] | None, ...] = ()
    failed = False
    durability = Durability.POWER_CUT

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        return self.cursor(_Cursor).execute(sql, parameters)

    def run(self, call: Callable[[], T]) -> T:
        """Call a function of SQLite: wait for locks, translate errors.

        Raises:
            StorageError: The database cannot be read or written.
        """
        try:
            return self.waits.until_unlocked(call)
        except sqlite3.Error as error:
            translated = storage_error(error, self.path)
            if translated is None:
                raise
            self.failed = translated.reason is not StorageErrorKind.BUSY
            raise translated from error

    @property
    def is_current(self) -> bool:
        """Whether the files it has open are those under the database's path."""
        return self.files == _files(self.path)

    @property
    def is_usable(self) -> bool:
        """Whether it may execute statements; a transaction ends with the one it began with."""
        return self.in_transaction or (self.is_current and not self.failed)


class Connections:
    """Opens a database file, which is created and migrated when needed.

    Args:
        path: The SQLite file.
        journal_mode: `wal` on a local disk, `delete` on a network mount.

    Raises:
        StorageError: The file cannot be created, read or written.
    """

    def __init__(self, path: Path, *, journal_mode: str) -> None:
        self._path = path.absolute()
        self._local = threading.local()
        self._waits = LockWaits(LOCK_WAIT_S)
        self._turn = WriteTurn()
        self._began_at = 0.0  # when a thread last obtained the write lock
        self._size_bytes = 0  # of the file, when it was last known to be whole
        self._origin: str | None = None
        with private_files.storage_errors():
            private_files.make_directory(self._path.parent)
            with suppress(FileExistsError):
                os.close(os.open(self._path, os.O_CREAT | os.O_EXCL, private_files.FILE_MODE))
            # SQLite makes its other files with the mode of the database.
            companions = [self._path.with_name(self._path.name + end) for end in COMPANIONS]
            private_files.restrict(self._path, *companions)
        self._set_journal(journal_mode)
        upgrade(self.writing)
        self._origin = _origin(_connection(self.db))

    def _set_journal(self, journal_mode: str) -> None:
        if self.row("pragma journal_mode")["journal_mode"] != journal_mode:
            self.db.execute(f"pragma journal_mode = {journal_mode}")
        _connection(self.db).failed = True  # to be opened again with the log of the new mode

    @property
    def db(self) -> Database:
        """This thread's connection.

        Raises:
            StorageError: The database cannot be opened, or another one has taken its place.
        """
        db: Database | None = getattr(self._local, "db", None)
        if db is not None and not _connection(db).is_usable:
            del self._local.db
            db.close()
            db = None
        if db is None:
            self._local.db = db = Database(self._opened())
        if not db.conn.in_transaction:
            self._check_length(_connection(db))
        return db

    def _check_length(self, connection: _Connection) -> None:
        """Detect a file that was emptied or cut short in place.

        SQLite goes on with it for a while, from caches and of the write-ahead log, and loses what
        it writes. `vacuum` makes the file shorter, too, but leaves it sound.

        Raises:
            StorageError: It was.
        """
        size_bytes = _size_bytes(self._path)
        if size_bytes is None:
            return  # it is missing, which is noticed elsewhere
        if size_bytes < self._size_bytes:
            if not size_bytes:
                raise StorageError(StorageErrorKind.CORRUPT)
            if connection.execute("pragma quick_check(1)").fetchone()[0] != "ok":
                raise StorageError(StorageErrorKind.CORRUPT)
        self._size_bytes = size_bytes

    def _opened(self) -> _Connection:
        if self._size_bytes and _size_bytes(self._path) == 0:
            raise StorageError(StorageErrorKind.CORRUPT)  # SQLite would begin an empty database
        try:
            connection = sqlite3.connect(
                f"{self._path.as_uri()}?mode=rw", uri=True, timeout=0, factory=_Connection
            )
        except sqlite3.Error as error:
            raise storage_error(error, self._path) or error from error
        connection.path, connection.waits = self._path, self._waits
        connection.row_factory = sqlite3.Row
        for pragma in PRAGMAS:
            connection.execute(f"pragma {pragma}")
        if self._origin is not None and _origin(connection) != self._origin:
            raise StorageError(StorageErrorKind.MISSING)
        connection.execute("select count(*) from sqlite_master").fetchone()  # opens the WAL
        connection.files = _files(self._path)
        return connection

    @contextmanager
    def writing(
        self, durability: Durability = Durability.POWER_CUT, *, background: bool = False
    ) -> Iterator[Database]:
        """A transaction that may write, committed when the block ends without an error.

        It takes the write lock at once: one that read first could not wait for the lock later.
        Threads of one process wait for each other here, because SQLite knows no queue: a statement
        that finds the database locked sleeps, and tries again.

        Args:
            durability: What the commit survives.
            background: Other threads of this process go before.

        Raises:
            StorageError: It could not begin, or it is not known to be on disk.
        """
        has_turn = self._wait_for_turn(background)
        try:
            with self._writing(durability) as db:
                yield db
        finally:
            if has_turn:
                self._turn.release()

    def _wait_for_turn(self, background: bool) -> bool:
        """Wait while other threads write; False where another process may hold the lock.

        Then `LockWaits` decides which threads go on waiting.
        """
        self._began_at = self._began_at or time.monotonic()
        return self._turn.acquire(
            background=background,
            goes_on=lambda: time.monotonic() - self._began_at <= STALLED_S,
        )

    @contextmanager
    def _writing(self, durability: Durability) -> Iterator[Database]:
        db = self.db
        connection = _connection(db)
        if connection.durability is not durability:
            connection.execute(f"pragma synchronous = {durability}")
            connection.durability = durability
        with _transaction(connection, "begin immediate"):
            self._began_at = time.monotonic()
            yield db
        if not connection.is_current:
            raise StorageError(StorageErrorKind.MISSING)
        self._check_length(connection)

    @contextmanager
    def reading(self) -> Iterator[Database]:
        """A transaction whose statements all read the same state of the database.

        Within another transaction of this thread it is a part of that one.
        """
        db = self.db
        connection = _connection(db)
        if connection.in_transaction:
            yield db
            return
        connection.execute("begin")
        try:
            yield db
        finally:
            _roll_back(connection)

    @contextmanager
    def preparing(self) -> Iterator[Database]:
        """A transaction that writes to temporary tables only, committed when the block ends.

        It does not take the write lock: others may write to the database.
        """
        with _transaction(_connection(self.db), "begin"):
            yield self.db

    def checkpoint(self) -> None:
        """Move the write-ahead log into the database, without keeping writers from writing."""
        self.row("pragma wal_checkpoint(passive)")

    def overwrite_log(self) -> None:
        """Move the write-ahead log into the database and empty it: it may hold deleted content.

        While another process reads, that waits for a later checkpoint.
        """
        self.row("pragma wal_checkpoint(truncate)")

    def close(self) -> None:
        """Close this thread's connection; the next statement opens another one."""
        db: Database | None = getattr(self._local, "db", None)
        if db is not None:
            del self._local.db
            db.close()

    def row(self, sql: str, values: Any = ()) -> Any:
        """The first row, or None."""
        return self.db.execute(sql, values).fetchone()


def _connection(db: Database) -> _Connection:
    return cast(_Connection, db.conn)


@contextmanager
def _transaction(connection: _Connection, begin: str) -> Iterator[None]:
    """A transaction that is committed when the block ends, and rolled back if that fails."""
    connection.execute(begin)
    try:
        yield
        connection.execute("commit")
    except BaseException:
        _roll_back(connection)
        raise


def _roll_back(connection: _Connection) -> None:
    if not connection.in_transaction:
        return
    try:
        connection.execute("rollback")
    except (sqlite3.Error, StorageError):
        connection.failed = True  # closing it rolls back


def _origin(connection: _Connection) -> str:
    """When the database was created, in microseconds: its identity, shared by its backups.

    Raises:
        StorageError: It is not a database of this program.
    """
    try:
        row = connection.execute("select min(applied_at) from _sqlite_migrations").fetchone()
    except sqlite3.OperationalError as error:  # an empty file
        raise StorageError(StorageErrorKind.MISSING) from error
    return str(row[0])


def _files(path: Path) -> tuple[tuple[int, int] | None, ...]:
    """Device and inode of the database and of its write-ahead log; None for one that is absent."""
    return _inode(str(path)), _inode(f"{path}-wal")


def _size_bytes(path: Path) -> int | None:
    try:
        return os.stat(path).st_size  # noqa: PTH116  # for each statement: a third of Path's time
    except OSError:
        return None


def _inode(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116  # for each statement: a third of Path's time
    except OSError:
        return None
    return found.st_dev, found.st_ino
