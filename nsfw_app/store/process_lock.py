"""Lets one process of a data directory do something at a time; several may share one."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nsfw_app.private_files import FILE_MODE, storage_errors


@contextmanager
def process_lock(path: Path) -> Iterator[bool]:
    """Whether this process has the lock, until the block ends or the process does.

    Args:
        path: The file that is locked; created where it is missing.

    Raises:
        StorageError: It cannot be opened, or its file system has no locks.
    """
    with storage_errors():
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, FILE_MODE)
    try:
        yield _is_locked(descriptor)
    finally:
        os.close(descriptor)


def _is_locked(descriptor: int) -> bool:
    with storage_errors():
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
