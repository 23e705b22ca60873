"""Pictures kept for people to look at: JPEG files by the hash of the image."""

import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from nsfw_app.errors import NotFound

SUFFIX = ".jpg"
UNFINISHED_S = 3_600  # no picture takes that long to write


class Pictures:
    """A directory of pictures, each whole or not there.

    Args:
        directory: Where they lie.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)

    def has(self, image_sha256: str) -> bool:
        """Whether a picture is kept."""
        return self._path(image_sha256).is_file()

    def add(self, image_sha256: str, jpeg: bytes) -> None:
        """Keep a picture, whole or not at all."""
        path = self._path(image_sha256)
        path.parent.mkdir(exist_ok=True, mode=0o700)
        part = path.with_suffix(f".{uuid.uuid4().hex}")
        try:
            part.write_bytes(jpeg)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    def get(self, image_sha256: str) -> bytes:
        """A kept picture, JPEG.

        Raises:
            NotFound: None is kept.
        """
        try:
            return self._path(image_sha256).read_bytes()
        except FileNotFoundError:
            raise NotFound(f"No picture of {image_sha256} is kept.") from None

    def remove(self, image_sha256: str) -> bool:
        """Delete a picture, and say whether there was one."""
        path = self._path(image_sha256)
        try:
            path.unlink()
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
            if path.suffix != SUFFIX and path.stat().st_mtime < time.time() - UNFINISHED_S:
                path.unlink(missing_ok=True)

    def _path(self, image_sha256: str) -> Path:
        if len(image_sha256) != 64 or not image_sha256.isalnum():
            raise NotFound("No such image.")
        return self._directory / image_sha256[:2] / f"{image_sha256}{SUFFIX}"
