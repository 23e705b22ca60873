"""Files of results: a file appears complete or not at all.

- The temporary file is hidden, so that readers of a directory of Parquet files leave it out.
"""

import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nsfw_app.dataset_errors import ScanError

PARTIAL = ".partial-"  # first characters of a temporary file's name, before 32 digits
PARTIAL_NAME = re.compile(rf"{re.escape(PARTIAL)}[0-9a-f]{{32}}")


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
    """Delete the temporary files that killed processes left, and nothing of another name or kind.

    Raises:
        ScanError: The directory cannot be read, or one of them cannot be deleted.
    """
    with writing(directory):
        with os.scandir(directory) as found:
            left = [
                Path(entry.path)
                for entry in found
                if PARTIAL_NAME.fullmatch(entry.name) and entry.is_file(follow_symlinks=False)
            ]
        for path in left:
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
