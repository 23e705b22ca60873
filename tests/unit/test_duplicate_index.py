"""The temporary index of images by hash."""

import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from nsfw_app.errors import StorageError, StorageErrorKind
from nsfw_app.store.duplicate_index import DuplicateIndex


def digest(number: int) -> str:
    """A different hash for each number."""
    return f"{number:064x}"


def open_files() -> Iterator[Path]:
    """The files that this process has open."""
    for path in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # that of the listing itself
            yield path.readlink()


def test_what_was_added_is_found() -> None:
    """By hash; of equal hashes the last one counts."""
    with DuplicateIndex() as index:
        assert index.find(digest(1)) is None
        index.add([(digest(1), 0, 5), (digest(2), 0, 6)])
        index.add([(digest(2), 1, 0)])
        assert index.find(digest(1)) == (0, 5)
        assert index.find(digest(2)) == (1, 0)
        assert index.find(digest(3)) is None


def test_no_file_is_left() -> None:
    """Even while it is open, its file has no name, so that a killed process leaves none."""
    with DuplicateIndex() as index:
        index._connection.execute("pragma cache_size = -100")  # less than is added
        index.add((digest(number * 7**30 % 10**40), 0, number) for number in range(10_000))
        (path,) = [path for path in open_files() if "etilqs" in path.name]  # SQLite's prefix
        assert path.name.endswith(" (deleted)")


def test_a_full_disk_is_a_typed_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says to free space, on the disk of temporary files, too."""
    with DuplicateIndex() as index:
        pages = index._connection.execute("pragma page_count").fetchone()[0]
        index._connection.execute(f"pragma max_page_count = {pages + 2}")
        with pytest.raises(StorageError, match="temporary files is full") as failed:
            index.add((digest(number), 0, number) for number in range(10_000))
        assert failed.value.reason is StorageErrorKind.FULL
        assert isinstance(failed.value.__cause__, sqlite3.Error)
