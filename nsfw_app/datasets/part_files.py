"""Part files: the rows of a scan, `images/part-KEY.parquet`, one file for each part.

- A file appears complete or not at all. Its rows are in the order of the part's entries.
- Its footer has the counts, so that they need no rows.
- The rows of a part that was interrupted are in `unfinished/`, for the run that continues.
"""

import json
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from nsfw_app.dataset_errors import ScanError
from nsfw_app.datasets import image_table, output_file

FOLDER, UNFINISHED = "images", "unfinished"
PREFIX, SUFFIX = "part-", ".parquet"
PATTERN = f"{PREFIX}*{SUFFIX}"
ERRORS = b"nsfw_review.errors"  # key of the footer: a JSON object, error kind to count
UNREADABLE = (OSError, pa.ArrowException, ValueError)  # of a damaged file

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class PartFooter:
    """Counts of a part file. `errors` are by kind."""

    rows: int
    errors: Mapping[str, int]


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
        """All part files, sorted."""
        return sorted(self.directory.glob(PATTERN))

    def keys(self) -> set[str]:
        """The parts that have a file."""
        return {path.name[len(PREFIX) : -len(SUFFIX)] for path in self.paths()}

    def write(self, key: str, rows: Sequence[Row]) -> PartFooter:
        """Write the file of a part, replacing an earlier one.

        Raises:
            ScanError: It cannot be written.
        """
        return self._write(self.path(key), rows)

    def write_unfinished(self, key: str, rows: Sequence[Row]) -> None:
        """Write the rows that a part has when it is interrupted.

        Raises:
            ScanError: They cannot be written.
        """
        output_file.make_directory(self._unfinished)
        self._write(self._unfinished / f"{PREFIX}{key}{SUFFIX}", rows)

    def unfinished_paths(self) -> list[Path]:
        """The files with rows of interrupted parts, sorted."""
        return sorted(self._unfinished.glob(PATTERN))

    def remove_unfinished(self) -> None:
        """Delete the rows of interrupted parts.

        Raises:
            ScanError: They cannot be deleted.
        """
        with output_file.writing(self._unfinished):
            if self._unfinished.exists():
                shutil.rmtree(self._unfinished)

    def remove(self, keys: Iterable[str]) -> None:
        """Delete the files of parts.

        Raises:
            ScanError: One cannot be deleted.
        """
        with output_file.writing(self.directory):
            for key in keys:
                self.path(key).unlink(missing_ok=True)

    def _write(self, path: Path, rows: Sequence[Row]) -> PartFooter:
        errors = Counter(row["error_kind"] for row in rows if row["error_kind"] is not None)
        table = image_table.table(rows, self._labels)
        table = table.replace_schema_metadata({ERRORS: json.dumps(errors)})
        buffer = pa.BufferOutputStream()
        pq.write_table(table, buffer, compression="zstd")
        output_file.write(path, memoryview(buffer.getvalue()))
        return PartFooter(len(rows), errors)


def read_footer(path: Path) -> PartFooter:
    """The counts of a part file.

    Raises:
        ScanError: It cannot be read.
    """
    try:
        metadata = pq.read_metadata(path)
        return PartFooter(metadata.num_rows, json.loads(metadata.metadata[ERRORS]))
    except (*UNREADABLE, KeyError, TypeError) as error:
        raise _unreadable(path) from error


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of a part file as a table, by default with all columns.

    Raises:
        ScanError: It cannot be read.
    """
    try:
        with pq.ParquetFile(path) as file:
            return file.read(columns, use_threads=False)
    except UNREADABLE as error:
        raise _unreadable(path) from error


def _unreadable(path: Path) -> ScanError:
    return ScanError(f"{path} cannot be read or is damaged. Scan again: it is replaced.")
