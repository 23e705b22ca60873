"""Parquet files with images: Hugging Face datasets, and tables of bytes or of paths.

- To list a file its footer is read, and of row groups that lack bytes of images the paths.
- Rows are decoded a few at a time, never a whole row group.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from threading import Lock
from typing import IO, Any

import pyarrow.parquet as pq

from nsfw_app.datasets import files
from nsfw_app.datasets.entries import Entry
from nsfw_app.datasets.files import FileStatus
from nsfw_app.datasets.image_columns import (
    DAMAGED,
    ImageCell,
    byte_columns,
    bytes_of,
    have_images,
    is_uncertain,
    no_image_column,
    paths_of,
    row_entries,
    text_columns,
)
from nsfw_app.datasets.left_out import LeftOutFiles
from nsfw_app.datasets.locations import name_of
from nsfw_app.datasets.path_tables import is_left_out, listed, path_column
from nsfw_app.datasets.versions import versioned
from nsfw_app.errors import ImageError, ImageErrorKind
from nsfw_app.imaging.decode import Limits

ROWS = 8  # decoded at once; each may be as large as the largest image
MIN_ROWS = 1_000  # that a file of any size may have; repeated images take little space
PATHS = 1_000  # of a column of paths, decoded at once
WINDOW_BYTES = 64 * 2**20  # of decoded rows, for threads that come a little later


def entries(container: Entry, left_out: LeftOutFiles) -> Iterator[Entry]:
    """The images of a file, in its order.

    Raises:
        ImageError: It cannot be opened, or has no column of images.
    """
    with files.opened(container.file) as file:
        table = _table(file, container.file)
        columns = byte_columns(table.schema_arrow)
        if is_uncertain(table.schema_arrow, columns) and not _begins_with_images(table, columns[0]):
            columns = []
        if columns:
            count = table.metadata.num_rows
            if count > max(container.size or 0, MIN_ROWS):
                raise ImageError(
                    ImageErrorKind.UNREADABLE,
                    f"{name_of(container.file)} states {count:,} rows, more than it has bytes.",
                )
            yield from versioned(_members(table, columns, container))
        elif column := path_column(text_columns(table.schema_arrow)):
            if is_left_out(container, left_out):
                return
            yield from listed(_paths(table, column, container), container)
        else:
            raise no_image_column(container, table.schema_arrow)


def _begins_with_images(table: Any, column: str) -> bool:
    """Whether the first values of a column have images, or cannot be decoded."""
    try:
        first = next(table.iter_batches(ROWS, columns=[column], use_threads=False), None)
        return first is None or have_images(first.column(0))
    except DAMAGED:
        return True


class ParquetCursor:
    """Reads images of a file, in nearly their order, from several threads.

    Args:
        location: The file.
        limits: Largest image that is read.
    """

    def __init__(self, location: str, limits: Limits) -> None:
        self._location = location
        self._limits = limits
        self._lock = Lock()
        self._open: AbstractContextManager[IO[bytes]] | None = None
        self._table: Any = None
        self._columns: Sequence[str] = ()
        self._starts: list[int] = []  # first row of each row group, and the number of rows
        self._batches: Iterator[Any] = iter(())
        self._next = 0  # row
        self._end = 0  # row after the row group that is being decoded
        self._window: OrderedDict[int, dict[str, ImageCell]] = OrderedDict()
        self._window_bytes = 0
        # By the end of a row group: its first row that cannot be decoded, and why.
        self._damaged: dict[int, tuple[int, str]] = {}

    def read(self, member: str) -> bytes:
        """The bytes of an image.

        Raises:
            ImageError: There are none, they are too large, or cannot be decoded.
        """
        text, _, column = member.partition(".")
        with self._lock:
            values = self._row(int(text))
            value = values[column or self._columns[0]]
        return value.content(self._location, member, self._limits)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._open is not None:
                self._batches, self._table = iter(()), None
                self._next = self._end = 0
                self._open.__exit__(None, None, None)
                self._open = None

    def _row(self, row: int) -> dict[str, ImageCell]:
        if row in self._window:
            return self._window[row]
        if self._table is None:
            self._start()
        if not self._next <= row < self._end:
            self._enter_group(row)
        while row >= self._next:
            self._check_damage(row)
            try:
                batch = next(self._batches)
            except (*DAMAGED, StopIteration) as error:  # or it has fewer rows than it states
                self._damaged[self._end] = self._next, files.reason(error)
            else:
                self._keep(batch)
        return self._window[row]

    def _start(self) -> None:
        self._open = files.opened(self._location)
        self._table = _table(self._open.__enter__(), self._location)
        self._columns = byte_columns(self._table.schema_arrow)
        metadata = self._table.metadata
        self._starts = [0]
        for group in range(metadata.num_row_groups):
            self._starts.append(self._starts[-1] + metadata.row_group(group).num_rows)

    def _enter_group(self, row: int) -> None:
        group = next(g for g, end in enumerate(self._starts[1:]) if row < end)
        self._next, self._end = self._starts[group], self._starts[group + 1]
        self._batches = self._table.iter_batches(
            batch_size=ROWS, row_groups=[group], columns=list(self._columns), use_threads=False
        )

    def _check_damage(self, row: int) -> None:
        first, reason = self._damaged.get(self._end, (self._end, ""))
        if row >= first:
            raise ImageError(
                ImageErrorKind.CORRUPT,
                f"{name_of(self._location)}#{row} cannot be decoded: {reason}.",
            )

    def _keep(self, batch: Any) -> None:
        """Put rows into the window, and take the first ones out of it."""
        for index in range(batch.num_rows):
            values = {c: ImageCell.of(batch.column(c)[index], self._limits) for c in self._columns}
            self._window[self._next] = values
            self._window_bytes += bytes_of(values)
            self._next += 1
        while self._window_bytes > WINDOW_BYTES and len(self._window) > batch.num_rows:
            self._window_bytes -= bytes_of(self._window.popitem(last=False)[1])


def _table(file: IO[bytes], location: str) -> Any:
    try:
        return pq.ParquetFile(file, pre_buffer=False, buffer_size=files.BLOCK_BYTES)
    except DAMAGED as error:
        name = name_of(location)
        file.seek(0)
        if files.is_pointer(file.read(len(files.POINTER))):
            raise files.pointer_error(name) from error
        raise ImageError(
            ImageErrorKind.UNREADABLE,
            f"{name} cannot be opened as a Parquet file: {files.reason(error)}.",
        ) from error


def _members(table: Any, columns: Sequence[str], container: Entry) -> Iterator[FileStatus | Entry]:
    """The images of a file; of those that it names by a path, the files."""
    count, start = table.metadata.num_rows, 0
    weight = (container.size or 0) // max(1, count * len(columns))
    for group in range(table.metadata.num_row_groups):
        end = min(count, start + max(0, table.metadata.row_group(group).num_rows))
        for paths, size in _named_paths(table, columns, group):
            rows = range(start, min(end, start + size))
            yield from row_entries(rows, columns, paths, container, weight=weight)
            start = rows.stop
        yield from row_entries(range(start, end), columns, {}, container, weight=weight)
        start = end
    yield from row_entries(range(start, count), columns, {}, container, weight=weight)


def _named_paths(
    table: Any, columns: Sequence[str], group: int
) -> Iterator[tuple[Mapping[str, Mapping[int, str]], int]]:
    """Paths of images without bytes in the next rows of a row group, and the number of these rows.

    It ends where the rows have none, or are damaged: what reads them says so.
    """
    try:
        leaves = _leaves(table, columns, group)
        if not leaves:
            return
        has_bytes = any(leaf.endswith(".bytes") for leaf in leaves)
        batches = table.iter_batches(
            batch_size=ROWS if has_bytes else PATHS,
            row_groups=[group],
            columns=leaves,
            use_threads=False,
        )
        for batch in batches:
            found = zip(batch.schema.names, batch.columns, strict=True)
            yield {name: paths_of(cells) for name, cells in found}, batch.num_rows
    except DAMAGED:
        return


def _leaves(table: Any, columns: Sequence[str], group: int) -> list[str]:
    """What is read of a row group to list it: paths, and bytes where only some images have them."""
    metadata, schema = table.metadata.row_group(group), table.metadata.schema
    numbers = {schema.column(number).path: number for number in range(metadata.num_columns)}
    leaves = []
    for column in columns:
        path, content = f"{column}.path", f"{column}.bytes"
        if path not in numbers or content not in numbers:
            continue
        statistics = metadata.column(numbers[content]).statistics
        nulls = statistics.null_count if statistics and statistics.has_null_count else None
        if nulls == 0:
            continue
        leaves += [path] if nulls == metadata.num_rows else [path, content]
    return leaves


def _paths(table: Any, column: str, container: Entry) -> Iterator[Any]:
    try:
        for batch in table.iter_batches(batch_size=PATHS, columns=[column], use_threads=False):
            yield from batch.column(0).to_pylist()
    except DAMAGED as error:
        raise ImageError(
            ImageErrorKind.UNREADABLE,
            f"{name_of(container.file)} is damaged: {files.reason(error)}.",
        ) from error
