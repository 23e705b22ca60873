"""Earlier parts: the part files of earlier runs, by the images whose rows they have.

- Before a new part appears, its images lose their rows in earlier parts, so that an image never
  has two. Rows that no new part has stay: their images are gone, or cannot be listed now.
- They are read when the first new part is complete: a scan without changes reads none.
"""

import hashlib
import threading
import weakref
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

from nsfw_app.dataset_errors import ImagesLost, PartDamaged
from nsfw_app.datasets.entries import Part
from nsfw_app.datasets.image_table import text
from nsfw_app.datasets.part_files import PartFiles, Row, read_footer, read_table
from nsfw_app.store.duplicate_index import DuplicateIndex


class Origin(StrEnum):
    """Where the images of parts are."""

    ANY = "any"
    FILES = "files"
    CONTAINERS = "containers"


class EarlierParts:
    """The part files that are there when this is made.

    An image is known by uri and container. An image that is named twice, by a directory and by
    a pattern, has a row in each part. Several threads may use it.

    Args:
        files: Of the scan.
        origin: Those that it knows; of others nothing is dropped.
    """

    def __init__(self, files: PartFiles, origin: Origin = Origin.ANY) -> None:
        self._files = files
        self._origin = origin
        self._keys = sorted(files.keys())
        self._paths = [*map(files.path, self._keys), *files.unfinished_paths()]
        self._lock = threading.Lock()
        self._index: DuplicateIndex | None = None

    def with_same_images(self, part: Part, current: Collection[str]) -> list[str]:
        """The keys of parts that may have rows of the same images, sorted.

        Args:
            part: A new part.
            current: Keys of the parts that the sources have, so far as they are listed.
        """
        numbers = self._found(part)
        found = {self._keys[number] for number in numbers if number < len(self._keys)} - {part.key}
        return sorted(key for key in found if key not in current)

    def drop(self, part: Part, keys: Iterable[str]) -> list[Path]:
        """Delete the rows of a part's images from other parts; the files of those that have others.

        Raises:
            ScanError: A file cannot be written.
        """
        uris = {text(entry.uri) for entry in part.entries}
        return [path for key in keys if (path := self._files.drop(key, uris)) is not None]

    def rows(self, part: Part, keys: Iterable[str]) -> list[Row]:
        """The rows of a part's images in other parts; those of a damaged file are lost."""
        uris, found = {text(entry.uri) for entry in part.entries}, dict[str, Row]()
        for key in keys:
            with suppress(PartDamaged):
                rows = read_table(self._files.path(key)).to_pylist()
                found |= {row["uri"]: row for row in rows if row["uri"] in uris}
        return [*found.values()]

    def check(self, part: Part, keys: Iterable[str]) -> None:
        """Check that most images of a part that were classified can still be found.

        A directory has no entries of files that are gone, but a list or a table does. Rows of
        interrupted parts count, too.

        Args:
            part: A new part.
            keys: Of the parts that have rows of the same images.

        Raises:
            ImagesLost: More than half of them cannot: a disk may not be mounted.
        """
        lost = {text(entry.uri) for entry in part.entries if entry.is_lost}
        if not lost:
            return
        uris = {text(entry.uri) for entry in part.entries}
        classified: set[str] = set()
        numbers = self._found(part)
        paths = [self._paths[number] for number in sorted(numbers) if number >= len(self._keys)]
        for path in (*map(self._files.path, keys), *paths):
            with suppress(PartDamaged):  # or it was replaced by another worker
                table = read_table(path, ["uri", "error_kind"])
                classified |= {row["uri"] for row in table.to_pylist() if row["error_kind"] is None}
        classified &= uris
        if lost := lost & classified:
            first = min(lost)
            if 2 * len(lost) > len(classified):
                raise ImagesLost(
                    f"{len(lost):,} of {len(classified):,} images of a group that were classified "
                    f"cannot be found, the first is {first}. Is a disk not mounted, or a server "
                    "not reached? Their rows are kept, and the scan is not finished. If the images "
                    "are meant to be gone, run the same command with --delete-gone."
                )

    def _found(self, part: Part) -> set[int]:
        """The numbers of the paths that have rows of a part's images."""
        if not self._paths or not self._knows(part.container):
            return set()
        with self._lock:
            index = self._index = self._index or self._loaded()
        return {
            number
            for entry in part.entries
            for number in _numbers(index, _hash(part.container, entry.uri))
        }

    def _loaded(self) -> DuplicateIndex:
        index = DuplicateIndex()
        weakref.finalize(self, index.close)
        for number, path in enumerate(self._paths):
            try:
                container = read_footer(path).container
                if not self._knows(container):
                    continue
                uris = read_table(path, ["uri"])["uri"].to_pylist()
            except PartDamaged:  # or it was replaced by another worker
                continue
            hashes = {_hash(container, uri) for uri in uris}
            index.add([(_free(index, each), number, 0) for each in hashes])
        return index

    def _knows(self, container: str) -> bool:
        if self._origin is Origin.ANY:
            return True
        return bool(container) is (self._origin is Origin.CONTAINERS)


def _hash(container: str, uri: str) -> str:
    return hashlib.sha256(f"{text(container)}\0{text(uri)}".encode()).hexdigest()


def _numbers(index: DuplicateIndex, hashed: str) -> Iterator[int]:
    """The parts that have an image: the first under its hash, others under hashes of that."""
    while found := index.find(hashed):
        yield found[0]
        hashed = _next(hashed)


def _free(index: DuplicateIndex, hashed: str) -> str:
    """The hash under which one more part with an image is found."""
    while index.find(hashed):
        hashed = _next(hashed)
    return hashed


def _next(hashed: str) -> str:
    return hashlib.sha256(hashed.encode()).hexdigest()
