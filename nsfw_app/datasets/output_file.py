"""Files of results: a file appears complete or not at all.

- The temporary file is hidden, so that readers of a directory of Parquet files leave it out.
"""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nsfw_app.dataset_errors import ScanError

PARTIAL = ".partial-"  # first characters of a temporary file's name


def write(path: Path, data: bytes | memoryview) -> None:
    """Write a file under a temporary name, then give it its own.

    Raises:
        ScanError: It cannot be written; an earlier file of that name is unchanged.
    """
    partial = path.with_name(f"{PARTIAL}{uuid.uuid4().hex}")
    with writing(path.parent):
        try:
            with partial.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


def make_directory(path: Path) -> None:
    """Create a directory and its parents where they are missing.

    Raises:
        ScanError: It cannot be created.
    """
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)


def remove_partial(directory: Path) -> None:
    """Delete the temporary files that killed processes left."""
    with writing(directory):
        for path in directory.glob(f"{PARTIAL}*"):
            path.unlink(missing_ok=True)


@contextmanager
def writing(directory: Path) -> Iterator[None]:
    """Translate errors of the operating system within the block.

    Raises:
        ScanError: There was one; the message has the directory and the reason.
    """
    try:
        yield
    except OSError as error:
        raise ScanError(
            f"{directory} cannot be written: {error.strerror}. What is written is complete; run "
            "the same command again to continue."
        ) from error
