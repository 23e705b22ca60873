"""Reads the bytes of entries, from all kinds of sources."""

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, TypeVar, cast

from nsfw_app.dataset_errors import SourceError
from nsfw_app.datasets import files, streams, tar_archives, zip_archives
from nsfw_app.datasets.containers import ContainerKind, kind_of
from nsfw_app.datasets.entries import Entry
from nsfw_app.datasets.locations import is_url, name_of
from nsfw_app.datasets.streams import StreamCursor
from nsfw_app.errors import ImageError, ImageErrorKind
from nsfw_app.imaging import decode
from nsfw_app.imaging.decode import Limits

MAX_CURSORS = 4  # containers that are open at once: parts of two follow each other


class Cursor(Protocol):
    """A container that is open."""

    def close(self) -> None:
        """Close it."""


if TYPE_CHECKING:
    from nsfw_app.datasets.arrow_files import ArrowCursor
    from nsfw_app.datasets.parquet_files import ParquetCursor

C = TypeVar("C", bound=Cursor)


class Reader:
    """Reads entries, in nearly their order, from several threads; a context manager.

    Args:
        limits: Largest image that is read.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._cursors: OrderedDict[str, Cursor] = OrderedDict()
        self._lock = Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._lock:
            while self._cursors:
                self._cursors.popitem()[1].close()

    def read(self, entry: Entry) -> bytes:
        """The bytes of an image.

        Raises:
            ImageError: It cannot be read, or is over the limit; the size is checked before.
        """
        name = entry.file_name
        if entry.problem:
            raise ImageError(ImageErrorKind(entry.problem.kind), entry.problem.message)
        if entry.size is not None:
            decode.check_size(entry.size, name=name, limits=self._limits)
        try:
            with decode.memory_for(name):
                data = self._content(entry)
        except SourceError as error:
            raise ImageError(ImageErrorKind.UNREADABLE, f"{name}: {error}") from error
        if files.is_pointer(data):
            raise files.pointer_error(name)
        decode.check_size(len(data), name=name, limits=self._limits)
        return data

    def _content(self, entry: Entry) -> bytes:
        if not entry.member:
            self._check_kind(entry)
            return files.read(entry.file, self._limits, size=entry.size)
        if not is_url(entry.file) and files.status(entry.file).version != entry.version:
            raise ImageError(
                ImageErrorKind.UNREADABLE,
                f"{name_of(entry.member)} cannot be read: its container has changed since it was "
                "listed. Scan again.",
            )
        if entry.byte_range is None:
            return self._cursor(entry.file, lambda: _table(entry.file, self._limits)).read(
                entry.member
            )
        if kind_of(entry.file) is ContainerKind.ZIP:
            return zip_archives.read(entry, entry.byte_range, self._limits)
        compression = streams.compression_of(entry.file)
        cursor = (
            self._cursor(entry.file, lambda: StreamCursor(entry.file, compression))
            if compression
            else None
        )
        return tar_archives.read(entry, entry.byte_range, self._limits, cursor)

    def _check_kind(self, entry: Entry) -> None:
        if kind_of(entry.file):
            raise ImageError(
                ImageErrorKind.NOT_AN_IMAGE,
                f"{name_of(entry.file)} is a container, not an image. Name it as a source.",
            )

    def _cursor(self, file: str, make: Callable[[], C]) -> C:
        """The open container; the one that was used least recently may be closed for it."""
        with self._lock:
            if file not in self._cursors:
                self._cursors[file] = make()
                if len(self._cursors) > MAX_CURSORS:
                    self._cursors.popitem(last=False)[1].close()
            self._cursors.move_to_end(file)
            return cast("C", self._cursors[file])


def _table(file: str, limits: Limits) -> "ArrowCursor | ParquetCursor":
    from nsfw_app.datasets.arrow_files import ArrowCursor  # with pyarrow
    from nsfw_app.datasets.parquet_files import ParquetCursor

    return (ArrowCursor if kind_of(file) is ContainerKind.ARROW else ParquetCursor)(file, limits)
