"""Known images: rows by the hash of an image, so that the same bytes are inferred once.

- Known are the rows of part files, those of parts that are not written yet, and images in flight.
- A row with an error is not known: its image is tried again.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa

from nsfw_app.dataset_errors import ScanError
from nsfw_app.datasets.image_table import ERROR_COLUMNS, error_of
from nsfw_app.datasets.part_files import Row, read_table
from nsfw_app.store.duplicate_index import DuplicateIndex

OPEN_TABLES = 4  # tables of part files in memory, at most 2,000 rows each


class KnownImages:
    """Rows by SHA-256. Several threads may call `row`, one at a time the other methods."""

    def __init__(self) -> None:
        self._index = DuplicateIndex()
        self._paths: list[Path] = []
        self._tables: OrderedDict[int, pa.Table] = OrderedDict()
        self._unwritten: dict[str, Future[Row | None]] = {}
        self._lock = threading.Lock()
        self._reading = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._index.__exit__(kind, error, traceback)

    def load(self, paths: Iterable[Path]) -> None:
        """Add the rows of part files. One that cannot be read has no known rows."""
        for path in paths:
            try:
                rows = read_table(path, ["sha256", *ERROR_COLUMNS]).to_pylist()
            except ScanError:
                continue
            self._add(path, rows)

    def written(self, path: Path, rows: Sequence[Row]) -> None:
        """Add the rows of a part file that was just written."""
        self._add(path, rows)
        with self._lock:
            for row in rows:
                self._unwritten.pop(row["sha256"], None)

    def row(self, sha256: str, infer: Callable[[], Row]) -> tuple[Row, bool]:
        """The row of an image with this hash, and whether it was known.

        Args:
            sha256: Of the image.
            infer: Computes its row; not called while another thread does so for the same hash.
        """
        with self._lock:
            other = self._unwritten.get(sha256)
            if other is None:
                own = self._unwritten[sha256] = Future[Row | None]()
        if other is not None:
            shared = other.result()
            return (shared, True) if shared is not None else (infer(), False)
        row = None
        try:
            known = self._read(sha256)
            row = known or infer()
        finally:
            shared = row if row and error_of(row) is None else None
            if shared is None:
                with self._lock:
                    del self._unwritten[sha256]
            own.set_result(shared)
        return row, known is not None

    def _add(self, path: Path, rows: Sequence[Row]) -> None:
        self._paths.append(path)
        number = len(self._paths) - 1
        self._index.add(
            (row["sha256"], number, at)
            for at, row in enumerate(rows)
            if row["sha256"] is not None and error_of(row) is None
        )

    def _read(self, sha256: str) -> Row | None:
        """The row of a part file; None where there is none, or the file was changed since."""
        found = self._index.find(sha256)
        if found is None:
            return None
        file, number = found
        with self._reading:
            table = self._tables.pop(file, None)
            if table is None:
                try:
                    table = read_table(self._paths[file])
                except ScanError:
                    return None
            self._tables[file] = table
            if len(self._tables) > OPEN_TABLES:
                self._tables.popitem(last=False)
        rows: list[Row] = table.slice(number, 1).to_pylist()
        is_same = bool(rows) and rows[0]["sha256"] == sha256 and error_of(rows[0]) is None
        return rows[0] if is_same else None
