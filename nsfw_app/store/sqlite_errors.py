"""Translates errors of SQLite into storage errors."""

import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from nsfw_app import private_files
from nsfw_app.errors import StorageError, StorageErrorKind
from nsfw_app.private_files import storage_errors
from nsfw_app.store.lock_waits import is_busy

PROBE_BYTES = 65_536  # more than SQLite adds to a file at once
KINDS: Mapping[int, StorageErrorKind] = MappingProxyType(
    {
        sqlite3.SQLITE_FULL: StorageErrorKind.FULL,
        sqlite3.SQLITE_READONLY: StorageErrorKind.READ_ONLY,
        sqlite3.SQLITE_PERM: StorageErrorKind.READ_ONLY,
        sqlite3.SQLITE_CORRUPT: StorageErrorKind.CORRUPT,
        sqlite3.SQLITE_NOTADB: StorageErrorKind.CORRUPT,
        sqlite3.SQLITE_IOERR: StorageErrorKind.FAILED,
        sqlite3.SQLITE_CANTOPEN: StorageErrorKind.FAILED,
    }
)


def storage_error(error: sqlite3.Error, database: Path) -> StorageError | None:
    """The storage error that an error of SQLite means; None for an error in the statement.

    Args:
        error: As the module `sqlite3` raised it.
        database: The database's file.
    """
    if is_busy(error):
        return StorageError(StorageErrorKind.BUSY)
    kind = KINDS.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
    if kind is None:
        return None
    if not database.exists():
        kind = StorageErrorKind.MISSING
    elif kind is StorageErrorKind.FAILED:
        kind = _failed_access(database)
    return StorageError(kind)


def _failed_access(database: Path) -> StorageErrorKind:
    """Find why a file could not be opened, read or written, where SQLite reports no cause.

    Writing a file next to the database shows it, for example a quota.
    """
    try:
        with storage_errors(), private_files.staged(database, bytes(PROBE_BYTES)):
            accessible = os.access(database, os.R_OK | os.W_OK)
    except StorageError as error:
        return error.reason
    return StorageErrorKind.FAILED if accessible else StorageErrorKind.READ_ONLY
