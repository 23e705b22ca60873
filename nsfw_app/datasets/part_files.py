"""Part files: the rows of a scan, `images/part-KEY.parquet`, one file for each part.

- A file appears complete or not at all. Its rows are in the order of the part's entries.
- Its footer has the counts, so that they need no rows.
- A file of another name, or that another program wrote, is neither read nor replaced nor deleted.
- The rows of a part that was interrupted are in `unfinished/`, for the run that continues.
"""

import json
import logging
import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from nsfw_app.dataset_errors import PartDamaged, ScanError
from nsfw_app.datasets import image_table, output_file
from nsfw_app.datasets.entries import Part
from nsfw_app.datasets.file_search import exists
from nsfw_app.datasets.image_table import ERROR_COLUMNS, error_of, text

log = logging.getLogger(__name__)

FOLDER, UNFINISHED = "images", "unfinished"
PREFIX, SUFFIX = "part-", ".parquet"
NAME = re.compile(rf"{PREFIX}([0-9a-f]{{24}}){re.escape(SUFFIX)}")  # with the key of a `Part`
# Keys of the footer, each of a JSON value.
ERRORS = b"nsfw_review.errors"  # error kind to count
CONTAINER = b"nsfw_review.container"  # its uri; empty for files
URIS = b"nsfw_review.uris"  # the first and the last one in the order of texts
UNREADABLE = (OSError, pa.ArrowException, ValueError)  # of a damaged file

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class PartFooter:
    """What the footer of a part file says.

    Attributes:
        rows: Their number.
        errors: Counts by kind.
        container: The uri of the container that holds or names the images; empty for files.
        uris: Of the images the first and the last one, in the order of texts.
    """

    rows: int
    errors: Mapping[str, int]
    container: str
    uris: tuple[str, str]


class PartFiles:
    """The part files in the directory of a scan.

    Args:
        directory: Of the scan.
        labels: Of the model, in its order.
    """

    def __init__(self, directory: Path, labels: Sequence[str]) -> None:
        self.directory = directory / FOLDER
        self._unfinished = directory / UNFINISHED
        self._labels = tuple(labels)

    def create(self) -> None:
        """Make the directory, and delete what killed processes have left in it.

        Raises:
            ScanError: It cannot be written.
        """
        output_file.make_directory(self.directory)
        output_file.remove_partial(self.directory)

    def path(self, key: str) -> Path:
        """Where the file of a part is."""
        return self.directory / f"{PREFIX}{key}{SUFFIX}"

    def paths(self) -> list[Path]:
        """All part files, sorted.

        Raises:
            ScanError: Their directory is missing, or cannot be read.
        """
        return list(map(self.path, sorted(self.keys())))

    def keys(self) -> set[str]:
        """The parts that have a file.

        Raises:
            ScanError: Their directory is missing, or cannot be read.
        """
        with _reading(self.directory):
            return _keys(self.directory)

    def complete(self, part: Part) -> PartFooter | None:
        """The footer of a part's file; None where it is missing, damaged or lacks rows.

        Raises:
            ScanError: It cannot be read now.
        """
        path = self.path(part.key)
        if not path.exists():
            return None
        try:
            footer = read_footer(path)
        except PartDamaged as error:
            log.warning("%s", error)
            return None
        return footer if footer.rows == len(part.entries) else None

    def write(self, key: str, rows: Sequence[Row], container: str = "") -> PartFooter:
        """Write the file of a part, replacing an earlier one.

        Args:
            key: Of the part.
            rows: Of its images.
            container: The uri of the container that holds or names them.

        Raises:
            ScanError: It cannot be written.
        """
        return self._write(self.path(key), self._table(rows), container)

    def write_unfinished(self, key: str, rows: Sequence[Row], container: str = "") -> PartFooter:
        """Write the rows that a part has when it is interrupted, or before it may appear.

        Rows of its other images that an earlier interruption has kept stay.

        Raises:
            ScanError: They cannot be written.
        """
        output_file.make_directory(self._unfinished)
        path, table = self.unfinished_path(key), self._table(rows)
        if path.exists():
            with suppress(PartDamaged):
                table = pa.concat_tables([table, self._others(path, table)])
        return self._write(path, table, container)

    def finish(self, key: str) -> None:
        """Let an unfinished file appear as that of its part.

        Raises:
            ScanError: It cannot be renamed.
        """
        with output_file.writing(self.directory):
            try:
                self.unfinished_path(key).replace(self.path(key))
            except FileNotFoundError:  # another worker has just done so
                if not self.path(key).exists():
                    raise

    def drop(self, key: str, uris: Collection[str]) -> Path | None:
        """Delete rows from the file of a part, and the file with its last row.

        Returns:
            The file, if it has lost rows and has others; a damaged file has none.

        Raises:
            ScanError: It cannot be read now, or not be written.
        """
        path = self.path(key)
        try:
            table, container = read_table(path), read_footer(path).container
        except PartDamaged:
            self.remove([key])
            return None
        kept = [number for number, uri in enumerate(table["uri"].to_pylist()) if uri not in uris]
        if not kept:
            self.remove([key])
        elif len(kept) < len(table):
            self._write(path, table.take(pa.array(kept)), container)
            return path
        return None

    def unfinished_path(self, key: str) -> Path:
        """Where the rows of an interrupted part are."""
        return self._unfinished / f"{PREFIX}{key}{SUFFIX}"

    def unfinished_paths(self) -> list[Path]:
        """The files with rows of interrupted parts, sorted.

        Raises:
            ScanError: Their directory cannot be read.
        """
        keys: set[str] = set()
        with _reading(self._unfinished), suppress(FileNotFoundError):
            keys = _keys(self._unfinished)
        return list(map(self.unfinished_path, sorted(keys)))

    def remove_unfinished(self) -> None:
        """Delete the rows of interrupted parts, and their directory unless it has other files.

        Raises:
            ScanError: They cannot be deleted.
        """
        if not exists(self._unfinished):
            return
        output_file.remove_partial(self._unfinished)
        _delete(self.unfinished_paths())
        with suppress(OSError):
            self._unfinished.rmdir()

    def remove(self, keys: Iterable[str]) -> None:
        """Delete the files of parts.

        Raises:
            ScanError: One cannot be deleted, or another program wrote it.
        """
        _delete(map(self.path, keys))

    def _others(self, path: Path, table: pa.Table) -> pa.Table:
        """The rows of a file whose images have none in a table."""
        rows = {text(row["uri"]): row for row in read_table(path).to_pylist()}
        for uri in table["uri"].to_pylist():
            rows.pop(uri, None)
        return self._table(list(rows.values()))

    def _table(self, rows: Sequence[Row]) -> pa.Table:
        return image_table.table(rows, self._labels)

    def _write(self, path: Path, table: pa.Table, container: str) -> PartFooter:
        kinds = map(error_of, table.select(ERROR_COLUMNS).to_pylist())
        errors = Counter(kind for kind in kinds if kind is not None)
        uris = table["uri"].to_pylist()
        footer = PartFooter(len(table), errors, text(container), (min(uris), max(uris)))
        values = {ERRORS: errors, CONTAINER: footer.container, URIS: footer.uris}
        table = table.replace_schema_metadata({k: json.dumps(v) for k, v in values.items()})
        buffer = pa.BufferOutputStream()
        pq.write_table(table, buffer, compression="zstd")
        output_file.write(path, memoryview(buffer.getvalue()))
        return footer


def read_footer(path: Path) -> PartFooter:
    """The footer of a part file.

    Raises:
        PartDamaged: It is damaged or missing.
        ScanError: It cannot be read now, or another program wrote it.
    """
    try:
        metadata = pq.read_metadata(path)
        _check_ours(path, metadata)
        errors, container, (first, last) = (
            json.loads(metadata.metadata[key]) for key in (ERRORS, CONTAINER, URIS)
        )
        return PartFooter(metadata.num_rows, errors, container, (first, last))
    except (*UNREADABLE, KeyError, TypeError) as error:
        raise _unreadable(path, error) from error


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of a part file as a table, by default with all columns.

    Raises:
        PartDamaged: It is damaged or missing.
        ScanError: It cannot be read now, or another program wrote it.
    """
    try:
        with pq.ParquetFile(path) as file:
            _check_ours(path, file.metadata)
            table = file.read(columns, use_threads=False)
    except UNREADABLE as error:
        raise _unreadable(path, error) from error
    wanted = image_table.ADDED if columns is None else columns
    return image_table.with_added_columns(table, wanted)


def _keys(directory: Path) -> set[str]:
    """The keys of the part files in a directory."""
    with os.scandir(directory) as found:
        return {match[1] for entry in found if (match := NAME.fullmatch(entry.name))}


def _delete(paths: Iterable[Path]) -> None:
    for path in paths:
        with suppress(PartDamaged):
            read_footer(path)
        with output_file.writing(path.parent):
            path.unlink(missing_ok=True)


def _check_ours(path: Path, metadata: pq.FileMetaData) -> None:
    """Check that a Parquet file was written by a scan.

    Raises:
        ScanError: It was not.
    """
    if ERRORS not in (metadata.metadata or {}):
        raise ScanError(
            f"{path} was written by another program, so it is neither read nor deleted. Move it to "
            "another directory, then run the same command again."
        )


@contextmanager
def _reading(directory: Path) -> Iterator[None]:
    """Translate errors of the operating system within a block that lists a directory."""
    try:
        yield
    except OSError as error:
        raise ScanError(f"{directory} cannot be read: {error.strerror}.") from error


def _unreadable(path: Path, error: Exception) -> ScanError:
    """The error about a file; one of its disk, which may pass, is not that it is damaged."""
    if isinstance(error, OSError) and error.errno and not isinstance(error, FileNotFoundError):
        return ScanError(f"{path} cannot be read: {os.strerror(error.errno)}.")
    return PartDamaged(f"{path} is damaged or missing. Scan again with --verify: it is replaced.")
