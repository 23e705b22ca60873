"""Outputs that are not complete yet: hidden files and directories next to where they will be.

- The name has a digest of the output's, so that what a killed process left is found, and deleted,
  when the same output is written again.
- The process that writes one keeps it locked. What another process writes is never deleted.
- A complete one is on disk before it gets its name, so that a crash leaves all of it or nothing.
"""

import errno
import fcntl
import hashlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PARTIAL = ".partial-"  # first characters of the names
DIGITS = 16  # of the digest


@contextmanager
def partial_file(path: Path) -> Iterator[Path]:
    """A new file to write and to rename to `path`; deleted at the end unless it was renamed.

    Raises:
        OSError: It cannot be made.
    """
    with _partial(path, lambda partial: partial.open("xb").close()) as partial:
        yield partial


@contextmanager
def partial_directory(path: Path, *, mode: int = 0o777) -> Iterator[Path]:
    """A new directory to fill and to rename to `path`; deleted at the end unless it was renamed.

    Raises:
        OSError: It cannot be made.
    """
    with _partial(path, lambda partial: partial.mkdir(mode=mode)) as partial:
        yield partial


def publish(partial: Path, path: Path) -> None:
    """Give a complete file or directory its name.

    Raises:
        FileExistsError: Something got that name while it was written.
        OSError: It cannot be renamed.
    """
    os.sync()  # all files at once; thousands one by one take minutes
    _check_free(path)  # renaming would replace a file, or a directory that is empty
    try:
        partial.rename(path)
    except OSError:
        _check_free(path)
        raise
    with suppress(OSError):  # some file systems cannot sync a directory
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def write_errors(path: Path, error: Callable[[str], Exception]) -> Iterator[None]:
    """Translate the operating system's errors within a block that writes an output.

    Args:
        path: The output, which messages name.
        error: Makes the error that is raised from a message.
    """
    try:
        yield
    except FileExistsError as cause:
        raise error(
            f"{path} exists by now, and is not overwritten. Rename it, or choose another name."
        ) from cause
    except OSError as cause:
        raise error(f"{path} cannot be written: {cause.strerror or cause}.") from cause


def _check_free(path: Path) -> None:
    if os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))


@contextmanager
def _partial(path: Path, make: Callable[[Path], None]) -> Iterator[Path]:
    _delete_left(path)
    partial, lock = _created(path, make)
    try:
        yield partial
    finally:
        _delete(partial)
        os.close(lock)


def _prefix(path: Path) -> str:
    digest = hashlib.sha256(os.fsencode(path.name)).hexdigest()
    return f"{PARTIAL}{digest[:DIGITS]}-"


def _created(path: Path, make: Callable[[Path], None]) -> tuple[Path, int]:
    """A new file or directory, and the descriptor that locks it where locks are supported."""
    while True:
        partial = path.with_name(f"{_prefix(path)}{uuid.uuid4().hex}")
        make(partial)
        # Another process that deletes what was left may be faster than the lock.
        with suppress(FileNotFoundError):
            descriptor = os.open(partial, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                is_ours = partial.exists()
            except BlockingIOError:
                is_ours = False
            except OSError:
                is_ours = True
            if is_ours:
                return partial, descriptor
            os.close(descriptor)


def _delete_left(path: Path) -> None:
    """Delete what killed processes left of an output."""
    prefix = _prefix(path)
    for left in path.parent.iterdir():
        if left.name.startswith(prefix):
            with suppress(OSError):  # it is locked, or locks are not supported
                descriptor = os.open(left, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    _delete(left)
                finally:
                    os.close(descriptor)


def _delete(partial: Path) -> None:
    if partial.is_dir() and not partial.is_symlink():
        shutil.rmtree(partial, ignore_errors=True)
    else:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
