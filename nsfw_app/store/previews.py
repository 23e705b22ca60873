"""Pictures kept for people to look at: JPEG files by the hash of the image."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nsfw_app import private_files
from nsfw_app.errors import NotFound
from nsfw_app.private_files import storage_errors
from nsfw_app.records import SHA256_PATTERN

SUFFIX = ".jpg"
UNFINISHED_S = 3_600  # no picture takes that long to write
PROBE = "write-probe"
PROBE_BYTES = 256_000  # about the size of a large picture


class PreviewFiles:
    """A directory of pictures, each whole or not there.

    The directory is made again when it is missing, the data directory above it is not: see
    `connections`.

    Args:
        directory: Where they lie.

    Raises:
        StorageError: Here and in each method: the directory cannot be used.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        with storage_errors():
            private_files.make_directory(directory)
        private_files.restrict(directory)

    def has(self, image_sha256: str) -> bool:
        """Whether a picture is kept."""
        return self._path(image_sha256).is_file()

    @contextmanager
    def staged(self, image_sha256: str, jpeg: bytes) -> Iterator[Callable[[], None]]:
        """A picture that is on disk but not kept yet; the call that is given keeps it."""
        path = self._path(image_sha256)
        with storage_errors():
            self._make(path.parent)
            with private_files.staged(path, jpeg) as part:

                def keep() -> None:
                    with storage_errors():
                        part.replace(path)

                yield keep

    def add(self, image_sha256: str, jpeg: bytes) -> None:
        """Keep a picture, whole or not at all."""
        with self.staged(image_sha256, jpeg) as keep:
            keep()

    def get(self, image_sha256: str) -> bytes:
        """A kept picture, JPEG.

        Raises:
            NotFound: None is kept.
        """
        with storage_errors():
            try:
                return self._path(image_sha256).read_bytes()
            except FileNotFoundError:
                raise NotFound(f"No picture of {image_sha256} is kept.") from None

    def remove(self, image_sha256: str) -> bool:
        """Delete a picture, and say whether there was one."""
        with storage_errors():
            try:
                self._path(image_sha256).unlink()
            except FileNotFoundError:
                return False
        return True

    def all(self) -> Iterator[str]:
        """The hash of every image of which a picture is kept."""
        for path in self._directory.glob(f"??/*{SUFFIX}"):
            yield path.stem

    def forget_unfinished(self) -> None:
        """Delete what processes that were killed have left half-written."""
        for path in self._directory.glob("??/*"):
            with storage_errors(), suppress(FileNotFoundError):
                if path.suffix != SUFFIX and path.stat().st_mtime < time.time() - UNFINISHED_S:
                    path.unlink()

    def check_writable(self) -> None:
        """Write a file as large as a picture, and delete it."""
        with storage_errors():
            self._make()
            with private_files.staged(self._directory / PROBE, bytes(PROBE_BYTES)):
                pass  # staging it was the check

    def _make(self, *below: Path) -> None:
        for directory in (self._directory, *below):
            with suppress(FileExistsError):
                directory.mkdir(mode=private_files.DIRECTORY_MODE)

    def _path(self, image_sha256: str) -> Path:
        if not re.fullmatch(SHA256_PATTERN, image_sha256):
            raise NotFound("No such image.")
        return self._directory / image_sha256[:2] / f"{image_sha256}{SUFFIX}"
