"""Private files and directories: readable only by the account that runs the program.

- Directories have mode 0700 and files 0600, independent of the umask and of existing modes.
- A file is written completely before it gets its name.
- Errors of the operating system become `StorageError`.
"""

import errno
import logging
import os
import stat
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from enum import Enum, auto
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO

from nsfw_app.errors import StorageError, StorageErrorKind

log = logging.getLogger(__name__)

DIRECTORY_MODE = 0o700
FILE_MODE = 0o600
KINDS: Mapping[int, StorageErrorKind] = MappingProxyType(
    {
        errno.ENOSPC: StorageErrorKind.FULL,
        errno.EDQUOT: StorageErrorKind.FULL,
        errno.EFBIG: StorageErrorKind.FULL,  # the process's file size limit
        errno.EROFS: StorageErrorKind.READ_ONLY,
        errno.EACCES: StorageErrorKind.READ_ONLY,
        errno.EPERM: StorageErrorKind.READ_ONLY,
        errno.ENOENT: StorageErrorKind.MISSING,
        errno.ENOTDIR: StorageErrorKind.MISSING,
        errno.ESTALE: StorageErrorKind.MISSING,
    }
)


class Sync(Enum):
    """When a file is certain to be on disk."""

    NOW = auto()  # before it gets its name
    LATER = auto()  # the caller syncs the whole disk after many files, which is faster


@contextmanager
def storage_errors() -> Iterator[None]:
    """Translate the operating system's errors within the block.

    Raises:
        StorageError: An `OSError` occurred; it is the cause.
    """
    try:
        yield
    except OSError as error:
        kind = KINDS.get(error.errno or 0, StorageErrorKind.FAILED)
        raise StorageError(kind) from error


def make_directory(path: Path) -> None:
    """Create a directory and its missing parents, each private from the start."""
    if path.is_dir():
        return
    make_directory(path.parent)
    with suppress(FileExistsError):  # created by another thread
        path.mkdir(mode=DIRECTORY_MODE)


@contextmanager
def staged(path: Path, data: bytes) -> Iterator[Path]:
    """Write a private temporary file next to `path`; it is deleted at the end unless moved.

    Raises:
        OSError: It cannot be written; no partial file remains.
    """
    part = path.with_suffix(f".{uuid.uuid4().hex}")
    try:
        with open(part, "xb", opener=_private) as file:  # Path has no opener
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield part
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def staged_file(path: Path, *, sync: Sync = Sync.NOW) -> Iterator[BinaryIO]:
    """A private file that gets its name, in place of an older one, once it is complete.

    Args:
        path: The file.
        sync: When it is certain to be on disk.

    Raises:
        OSError: It cannot be written; no partial file remains, and an older one stays.
    """
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    try:
        with open(part, "xb", opener=_private) as file:  # Path has no opener
            yield file
            file.flush()
            if sync is Sync.NOW:
                os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def restrict(*paths: Path) -> None:
    """Remove the permissions of other accounts from files and directories.

    Missing paths are ignored; failures are logged.
    """
    for path in paths:
        _restrict(path)


def restrict_tree(*paths: Path) -> None:
    """Apply `restrict` to directories and everything below them; links are not followed."""
    for path in paths:
        _restrict(path)
        for directory, directories, files in os.walk(path):
            for name in (*directories, *files):
                _restrict(Path(directory, name))


def _restrict(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
        if stat.S_ISDIR(mode):
            wanted = DIRECTORY_MODE
        elif stat.S_ISREG(mode):
            wanted = FILE_MODE
        else:
            return
        if stat.S_IMODE(mode) & ~wanted:
            path.chmod(wanted)
    except FileNotFoundError:
        return  # deleted concurrently
    except OSError as error:
        log.warning("%s remains readable by other accounts: %s.", path, error.strerror)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, FILE_MODE)
