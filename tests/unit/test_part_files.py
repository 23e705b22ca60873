"""Part files: whole or not there, with counts in their footer."""

import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nsfw_app.dataset_errors import PartDamaged, ScanError
from nsfw_app.datasets import output_file
from nsfw_app.datasets.entries import Entry, Part
from nsfw_app.datasets.image_table import row
from nsfw_app.datasets.part_files import PartFiles, Row, read_footer, read_table
from nsfw_app.errors import ImageError, ImageErrorKind
from nsfw_app.records import Policy
from nsfw_app.review.unstored import review, unavailable
from tests.support.fakes import LIMITS, FakeClassifier, image_bytes

POLICY = Policy(0.33, 0.2, 0.8)
KEYS = [24 * "a", 24 * "b"]


def rows() -> list[Row]:
    """Rows of an image and of a missing file."""
    data = image_bytes(200)
    classified = review(data, "a.png", classifier=FakeClassifier(), policy=POLICY, limits=LIMITS)
    missing = unavailable("b.png", POLICY, ImageError(ImageErrorKind.MISSING, "b.png is missing."))
    return [
        row(Entry("a.png", "a.png", version="1"), classified, size_bytes=len(data)),
        row(Entry("b.png", "b.png"), missing, size_bytes=None),
    ]


@pytest.fixture
def parts(tmp_path: Path) -> PartFiles:
    """The part files of an empty scan."""
    parts = PartFiles(tmp_path, ["normal", "nsfw"])
    parts.directory.mkdir()
    return parts


def test_rows_are_read_as_they_were_written(parts: PartFiles) -> None:
    """In their order, with all values; the footer counts errors by kind."""
    written = rows()
    footer = parts.write("k", written)
    path = parts.path("k")
    assert footer == read_footer(path)
    assert (footer.rows, footer.errors) == (2, {"missing": 1})
    found = read_table(path).to_pylist()
    for name in ("uri", "sha256", "nsfw_score", "probabilities", "action", "perceptual_hash"):
        assert [each[name] for each in found] == [each[name] for each in written]
    assert found[1]["action"] == "unavailable"
    assert found[1]["probabilities"] is None
    assert read_table(path, ["uri"]).column_names == ["uri"]


def test_parts_are_listed_and_removed(parts: PartFiles) -> None:
    """By key; a file that is not of a part, or not whole yet, is none."""
    for key in (KEYS[1], KEYS[0]):
        parts.write(key, rows())
    (parts.directory / f"{output_file.PARTIAL}{32 * '0'}").touch()
    assert parts.keys() == set(KEYS)
    assert parts.paths() == [parts.path(key) for key in KEYS]
    parts.remove([KEYS[0], "not there"])
    output_file.remove_partial(parts.directory)
    assert [path.name for path in parts.directory.iterdir()] == [f"part-{KEYS[1]}.parquet"]


def test_files_of_other_programs_are_left(parts: PartFiles) -> None:
    """By their names; those with the name of a part by their footers, which are an error."""
    table = pa.table({"uri": ["a"], "pixels": [1]})
    others = [
        parts.directory / name
        for name in (
            "part-00000-1f2e.snappy.parquet",
            f"part-{KEYS[0]}.snappy.parquet",
            f"part-{KEYS[0].upper()}.parquet",
            f"{output_file.PARTIAL}mine",
        )
    ]
    for path in others:
        pq.write_table(table, path)
    (parts.directory / f"{output_file.PARTIAL}{32 * '0'}").mkdir()
    output_file.remove_partial(parts.directory)
    assert parts.paths() == []
    same_name = parts.path(KEYS[0])
    pq.write_table(table, same_name)
    uses: list[Callable[[], object]] = [
        lambda: read_footer(same_name),
        lambda: read_table(same_name),
        lambda: parts.complete(Part(KEYS[0], [Entry("a", "a")])),
        lambda: parts.drop(KEYS[0], ["a"]),
        lambda: parts.remove([KEYS[0]]),
    ]
    for use in uses:
        with pytest.raises(ScanError, match="was written by another program") as refused:
            use()
        assert not isinstance(refused.value, PartDamaged)
    assert all(path.exists() for path in (*others, same_name))


def test_unfinished_rows_are_deleted_and_nothing_else(parts: PartFiles, tmp_path: Path) -> None:
    """The directory stays while it has other files."""
    (path,) = (parts.unfinished_path(key) for key in KEYS[:1])
    parts.write_unfinished(KEYS[0], rows())
    other = path.with_name("notes.txt")
    other.touch()
    (path.parent / "more").mkdir()
    assert parts.unfinished_paths() == [path]
    parts.remove_unfinished()
    assert {left.name for left in path.parent.iterdir()} == {"notes.txt", "more"}
    other.unlink()
    (path.parent / "more").rmdir()
    parts.remove_unfinished()
    assert not path.parent.exists()
    parts.remove_unfinished()


@pytest.mark.parametrize("name", ["images", "unfinished"])
def test_a_directory_that_cannot_be_listed(
    parts: PartFiles, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """It is an error, and never a scan without rows."""

    def refuse(path: Path) -> object:
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", refuse)
        with pytest.raises(ScanError, match=f"{name} cannot be read: Permission denied"):
            parts.paths() if name == "images" else parts.unfinished_paths()
    assert parts.unfinished_paths() == []
    parts.directory.rmdir()
    with pytest.raises(ScanError, match="images cannot be read: No such file"):
        parts.paths()


def test_a_failed_write_leaves_the_earlier_file(
    parts: PartFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk is a typed error; the earlier rows are there, and no temporary file."""
    parts.write("k", rows())

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(output_file.os, "fsync", full)
    with pytest.raises(ScanError, match="No space left on device"):
        parts.write("k", rows()[:1])
    assert read_footer(parts.path("k")).rows == 2
    assert len(list(parts.directory.iterdir())) == 1


@pytest.mark.parametrize("data", [b"", b"PAR1", b"PAR1" + bytes(100) + b"PAR1"])
def test_a_damaged_file_is_a_typed_error(parts: PartFiles, data: bytes) -> None:
    """Its footer and its rows cannot be read."""
    parts.path("k").write_bytes(data)
    for read in (read_footer, read_table):
        with pytest.raises(ScanError, match="damaged"):
            read(parts.path("k"))


def test_a_name_that_is_not_text_has_escapes(parts: PartFiles) -> None:
    """A file name that is not UTF-8 does not keep its part from being written."""
    name = "\udcff.png"
    classified = review(
        image_bytes(3), name, classifier=FakeClassifier(), policy=POLICY, limits=LIMITS
    )
    parts.write("k", [row(Entry(name, name), classified, size_bytes=1)])
    (found,) = read_table(parts.path("k")).to_pylist()
    assert (found["uri"], found["name"]) == ("\\udcff.png", "\\udcff.png")
