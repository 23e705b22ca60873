"""Preview files: JPEGs named by the SHA-256 of the image."""

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nsfw_app import private_files
from nsfw_app.errors import NotFound
from nsfw_app.private_files import storage_errors
from nsfw_app.records import SHA256_PATTERN

SUFFIX = ".jpg"
ASIDE = ".deleted"  # a preview that is being deleted
UNFINISHED_S = 3_600  # writing a preview never takes that long
PROBE = "write-probe"
PROBE_BYTES = 256_000  # about the size of a large preview


class PreviewFiles:
    """A directory of previews, written atomically.

    The directory is recreated when it is missing; the data directory above it is not, see
    `connections`.

    Args:
        directory: The directory of the files.

    Raises:
        StorageError: From here and from each method: the directory cannot be used.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        with storage_errors():
            private_files.make_directory(directory)
        private_files.restrict(directory)

    def has(self, image_sha256: str) -> bool:
        """Whether an image has a preview."""
        return self._path(image_sha256).is_file()

    @contextmanager
    def staged(self, image_sha256: str, jpeg: bytes) -> Iterator[Callable[[], None]]:
        """Write a preview under a temporary name; the yielded function renames it into place."""
        path = self._path(image_sha256)
        with storage_errors():
            self._make(path.parent)
            with private_files.staged(path, jpeg) as part:

                def keep() -> None:
                    with storage_errors():
                        part.replace(path)

                yield keep

    def add(self, image_sha256: str, jpeg: bytes) -> None:
        """Write a preview, whole or not at all."""
        with self.staged(image_sha256, jpeg) as keep:
            keep()

    def get(self, image_sha256: str) -> bytes:
        """The JPEG of a preview.

        Raises:
            NotFound: The image has no preview.
        """
        with storage_errors():
            try:
                return self._path(image_sha256).read_bytes()
            except FileNotFoundError:
                raise NotFound(f"There is no preview of image {image_sha256}.") from None

    def ends(self, image_sha256: str, length: int) -> tuple[bytes, bytes]:
        """The first and the last bytes of a preview, without the rest.

        Raises:
            NotFound: The image has no preview.
        """
        with storage_errors():
            try:
                with self._path(image_sha256).open("rb") as file:
                    first = file.read(length)
                    file.seek(-min(length, len(first)), os.SEEK_END)
                    return first, file.read()
            except FileNotFoundError:
                raise NotFound(f"There is no preview of image {image_sha256}.") from None

    def remove(self, image_sha256: str) -> bool:
        """Delete a preview; return whether there was one."""
        with storage_errors():
            try:
                self._path(image_sha256).unlink()
            except FileNotFoundError:
                return False
        return True

    @contextmanager
    def setting_aside(self) -> Iterator[Callable[[str], None]]:
        """Delete previews at the end of the block; one that raises an error puts them back.

        The yielded function renames a preview, which takes a fraction of the time of its deletion.
        """
        moved: list[str] = []

        def set_aside(image_sha256: str) -> None:
            with storage_errors(), suppress(FileNotFoundError):
                path = self._path(image_sha256)
                path.rename(path.with_suffix(ASIDE))
                moved.append(image_sha256)

        try:
            yield set_aside
        except BaseException:
            for image_sha256 in moved:
                path = self._path(image_sha256)
                with suppress(OSError):  # the first error is reported
                    path.with_suffix(ASIDE).rename(path)
            raise
        self.delete_set_aside(moved)

    def set_aside(self) -> Iterator[str]:
        """The SHA-256 of every image whose preview was set aside and is not deleted yet."""
        for path in self._directory.glob(f"??/*{ASIDE}"):
            yield path.stem

    def put_back(self, image_sha256: str) -> None:
        """Give a preview that was set aside its name again, unless there is another one."""
        path = self._path(image_sha256)
        with storage_errors(), suppress(FileNotFoundError):
            aside = path.with_suffix(ASIDE)
            if path.exists():
                aside.unlink()
            else:
                aside.rename(path)

    def delete_set_aside(self, images: Iterable[str]) -> None:
        """Delete previews that were set aside."""
        with storage_errors():
            for image_sha256 in images:
                self._path(image_sha256).with_suffix(ASIDE).unlink(missing_ok=True)

    def all(self) -> Iterator[str]:
        """The SHA-256 of every image that has a preview."""
        for path in self._directory.glob(f"??/*{SUFFIX}"):
            yield path.stem

    def forget_unfinished(self) -> None:
        """Delete incomplete files that killed processes have left."""
        for path in self._directory.glob("??/*"):
            with storage_errors(), suppress(FileNotFoundError):
                if (
                    path.suffix not in (SUFFIX, ASIDE)
                    and path.stat().st_mtime < time.time() - UNFINISHED_S
                ):
                    path.unlink()

    def check_writable(self) -> None:
        """Write a file as large as a preview, and delete it."""
        with storage_errors():
            self._make()
            with private_files.staged(self._directory / PROBE, bytes(PROBE_BYTES)):
                pass  # staging the file is the check

    def _make(self, *below: Path) -> None:
        for directory in (self._directory, *below):
            with suppress(FileExistsError):
                directory.mkdir(mode=private_files.DIRECTORY_MODE)

    def _path(self, image_sha256: str) -> Path:
        if not re.fullmatch(SHA256_PATTERN, image_sha256):
            raise NotFound("No such image.")
        return self._directory / image_sha256[:2] / f"{image_sha256}{SUFFIX}"
