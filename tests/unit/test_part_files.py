"""Part files: whole or not there, with counts in their footer."""

from pathlib import Path

import pytest

from nsfw_app.dataset_errors import ScanError
from nsfw_app.datasets import output_file
from nsfw_app.datasets.entries import Entry
from nsfw_app.datasets.image_table import row
from nsfw_app.datasets.part_files import PartFiles, Row, read_footer, read_table
from nsfw_app.errors import ImageError, ImageErrorKind
from nsfw_app.records import Policy
from nsfw_app.review.unstored import review, unavailable
from tests.support.fakes import LIMITS, FakeClassifier, image_bytes

POLICY = Policy(0.33, 0.2, 0.8)


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
    for key in ("b", "a"):
        parts.write(key, rows())
    (parts.directory / f"{output_file.PARTIAL}x").touch()
    assert parts.keys() == {"a", "b"}
    assert parts.paths() == [parts.path("a"), parts.path("b")]
    parts.remove(["a", "not there"])
    output_file.remove_partial(parts.directory)
    assert [path.name for path in parts.directory.iterdir()] == ["part-b.parquet"]


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
