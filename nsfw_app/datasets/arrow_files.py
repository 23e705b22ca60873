"""Arrow files with images: data sets that Hugging Face's `save_to_disk` wrote, and other tables.

- A local file is mapped, so that no more than the images that are read is in memory.
- Batches of rows are checked before they are read: a damaged file may point outside of itself.
"""

import mmap
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain, islice
from threading import Lock
from typing import IO, Any

import pyarrow as pa

from nsfw_app.datasets import files
from nsfw_app.datasets.entries import Entry
from nsfw_app.datasets.files import FileStatus
from nsfw_app.datasets.image_columns import (
    DAMAGED,
    ImageCell,
    byte_columns,
    have_images,
    is_uncertain,
    no_image_column,
    paths_of,
    row_entries,
    text_columns,
)
from nsfw_app.datasets.left_out import LeftOutFiles
from nsfw_app.datasets.locations import is_url, name_of
from nsfw_app.datasets.path_tables import is_left_out, listed, path_column
from nsfw_app.datasets.versions import versioned
from nsfw_app.errors import ImageError, ImageErrorKind
from nsfw_app.imaging.decode import Limits

MAGIC = b"ARROW1"  # of files with a footer; others are streams, as those of `save_to_disk`
ROWS = 8  # whose values say whether a column has images
WINDOW_BYTES = 64 * 2**20  # of batches that are kept for threads that come a little later


def entries(container: Entry, left_out: LeftOutFiles) -> Iterator[Entry]:
    """The images of a file, in its order; a remote file is read as a whole for that.

    Raises:
        ImageError: It cannot be opened, has no column of images, or is damaged after those before.
    """
    with _opened(container.file) as (schema, batches):
        columns = byte_columns(schema)
        if is_uncertain(schema, columns):
            batches = iter(batches)
            first = list(islice(_checked(batches, columns, container.file), 1))
            batches = chain(first, batches)
            if not any(have_images(batch.column(columns[0])[:ROWS]) for batch in first):
                columns = []
        if columns:
            checked = _checked(batches, columns, container.file)
            yield from versioned(_members(checked, columns, container))
        elif column := path_column(text_columns(schema)):
            if is_left_out(container, left_out):
                return
            found = _checked(batches, [column], container.file)
            paths = (path for batch in found for path in batch.column(column).to_pylist())
            yield from listed(paths, container)
        else:
            raise no_image_column(container, schema)


class ArrowCursor:
    """Reads images of a file, in nearly their order, from several threads.

    Args:
        location: The file.
        limits: Largest image that is read.
    """

    def __init__(self, location: str, limits: Limits) -> None:
        self._location = location
        self._limits = limits
        self._lock = Lock()
        self._open = ExitStack()
        self._batches: Iterator[Any] | None = None
        self._columns: Sequence[str] = ()
        self._window: deque[tuple[int, Any]] = deque()  # first row of a batch, and the batch
        self._window_bytes = 0
        self._next = 0  # row

    def read(self, member: str) -> bytes:
        """The bytes of an image.

        Raises:
            ImageError: There are none, they are too large, or the file is damaged.
        """
        text, _, column = member.partition(".")
        with self._lock:
            start, batch = self._batch(int(text))
            cell = batch.column(column or self._columns[0])[int(text) - start]
        return ImageCell.of(cell, self._limits).content(self._location, member, self._limits)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._close()

    def _batch(self, row: int) -> tuple[int, Any]:
        """The batch that has a row, and its first row."""
        if self._batches is None or row < (self._window[0][0] if self._window else 0):
            self._restart()
        while row >= self._next:
            batch = next(self._batches or iter(()), None)
            if batch is None:
                raise ImageError(
                    ImageErrorKind.CORRUPT, f"{name_of(self._location)} has no row {row}."
                )
            self._window.append((self._next, batch))
            self._next += batch.num_rows
            self._window_bytes += batch.nbytes
            while self._window_bytes > WINDOW_BYTES and len(self._window) > 1:
                self._window_bytes -= self._window.popleft()[1].nbytes
        at = max(n for n, (start, _) in enumerate(self._window) if start <= row)
        return self._window[at]

    def _restart(self) -> None:
        self._close()
        schema, batches = self._open.enter_context(_opened(self._location))
        self._columns = byte_columns(schema)
        self._batches = _checked(batches, self._columns, self._location)

    def _close(self) -> None:
        self._batches = None
        self._window.clear()
        self._window_bytes = self._next = 0
        self._open.close()


def _members(
    batches: Iterable[Any], columns: Sequence[str], container: Entry
) -> Iterator[FileStatus | Entry]:
    start = 0
    for batch in batches:
        weight = batch.nbytes // max(1, batch.num_rows * len(columns))
        paths = {column: paths_of(batch.column(column)) for column in columns}
        rows = range(start, start + batch.num_rows)
        yield from row_entries(rows, columns, paths, container, weight=weight)
        start += batch.num_rows


@contextmanager
def _opened(location: str) -> Iterator[tuple[Any, Iterable[Any]]]:
    """Schema and batches of a file.

    Raises:
        ImageError: It cannot be opened.
    """
    with files.opened(location) as file:
        name = name_of(location)
        if files.is_pointer(file.read(len(files.POINTER))):
            raise files.pointer_error(name)
        file.seek(0)
        try:
            opened = _reader(file, is_local=not is_url(location))
        except DAMAGED as error:
            raise ImageError(
                ImageErrorKind.UNREADABLE,
                f"{name} cannot be opened as an Arrow file: {files.reason(error)}.",
            ) from error
        yield opened


def _reader(file: IO[bytes], *, is_local: bool) -> tuple[Any, Iterable[Any]]:
    if is_local:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        source: Any = pa.BufferReader(pa.py_buffer(mapped))
    else:
        source = pa.PythonFile(file, mode="r")
    is_stream = source.read(len(MAGIC)) != MAGIC
    source.seek(0)
    if is_stream:
        stream = pa.ipc.open_stream(source)
        return stream.schema, _to_the_end(stream, source)
    table = pa.ipc.open_file(source)
    return table.schema, map(table.get_batch, range(table.num_record_batches))


def _to_the_end(stream: Any, source: Any) -> Iterator[Any]:
    """The batches of a stream, whose end pyarrow also sees in a damaged header of zeros.

    Raises:
        ArrowInvalid: Data follows the last one.
    """
    yield from stream
    while chunk := source.read(files.BLOCK_BYTES):
        if chunk.strip(b"\0"):
            raise pa.ArrowInvalid("data follows the end of the stream")


def _checked(batches: Iterable[Any], columns: Sequence[str], location: str) -> Iterator[Any]:
    """The batches, as long as these columns are sound.

    Raises:
        ImageError: The file is damaged after those before.
    """
    try:
        for batch in batches:
            for column in columns:
                batch.column(column).validate(full=True)
            yield batch
    except DAMAGED as error:
        raise ImageError(
            ImageErrorKind.UNREADABLE, f"{name_of(location)} is damaged: {files.reason(error)}."
        ) from error
