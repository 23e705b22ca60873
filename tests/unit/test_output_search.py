"""Whether a scan finds an output: what is refused is what the next scan would list."""

from pathlib import Path

import pytest

from nsfw_app.datasets.left_out import LeftOutFiles
from nsfw_app.datasets.output_search import OutputSearch
from nsfw_app.datasets.shards import first_names
from nsfw_app.datasets.units import find_units


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Directories with an image each, and links between them."""
    for name in ("d", "d/a", "d/a/b", "d/.hidden", "e", "kept"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.jpg").write_bytes(b"x")
    (tmp_path / "d" / "to-e").symlink_to(tmp_path / "e")
    (tmp_path / "to-d").symlink_to(tmp_path / "d")
    (tmp_path / "e" / "loop").symlink_to(tmp_path / "d")
    (tmp_path / "list.txt").write_text("d/1.jpg\nto-d\n")
    (tmp_path / "files.txt").write_text("d/1.jpg\n")
    return tmp_path


def is_found(place: Path, source: str, output: str) -> bool:
    """By `OutputSearch`, for an output with images in subdirectories or a file."""
    mark = "@" if source.startswith("@") else ""
    path = place / output
    search = OutputSearch(
        path,
        names=first_names(path.name),
        is_directory=not output.endswith(".tar"),
        excluded=place / "scan",
    )
    named = source if "://" in source else f"{mark}{place}/{source.removeprefix(mark)}"
    return search.finding([f"{place}/kept/1.jpg", named]) is not None


def listed(place: Path, source: str, written: Path) -> bool:
    """Whether a scan of a source lists a file."""
    mark = "@" if source.startswith("@") else ""
    units = find_units([f"{mark}{place}/{source.removeprefix(mark)}"], left_out=LeftOutFiles())
    return any(Path(each.file).samefile(written) for unit in units for each in unit.entries)


@pytest.mark.parametrize(
    ("source", "output"),
    [
        ("d", "d/x"),
        ("d", "d/a/b/x"),
        ("d", "e/x"),
        ("to-d", "d/a/x"),
        ("d", "to-d/x"),
        ("@list.txt", "d/x"),
        ("@list.txt", "e/x"),
        ("to-d/**/*.jpg", "d/x"),
        ("d/**/*.jpg", "e/x"),
        ("*/*/*/*.jpg", "d/x"),
        ("to-d/*/*/*.jpg", "d/x"),
        ("d/*/x/*/*.jpg", "e/x"),
        ("to-*/to-*/x/*/*.jpg", "e/x"),
        ("d/*", "d/x"),
        ("d/t*", "e/x"),
        ("d/{a,to-e}", "e/x"),
        ("d/{a,x}/*", "d/x"),
        ("gone", "gone"),
    ],
)
def test_what_the_next_scan_lists_is_found(place: Path, source: str, output: str) -> None:
    """Directories, lists and patterns, with links in all places; the scan is the witness."""
    assert is_found(place, source, output)
    written = place / output / "ab" / "image.jpg"
    written.parent.mkdir(parents=True)
    written.write_bytes(b"x")
    assert listed(place, source, written)


@pytest.mark.parametrize(
    ("source", "output"),
    [
        ("d", "kept/x"),
        ("d", "x"),
        ("d", "d/.hidden/x"),
        ("d/a", "d/x"),
        ("@list.txt", "kept/x"),
        ("@files.txt", "d/x"),
        ("@missing.txt", "d/x"),
        ("d/*.jpg", "d/x"),
        ("d/a*/*.jpg", "d/x"),
        ("d/*/*/*.jpg", "kept/x"),
        ("d/**/*.jpg", "kept/x"),
        ("d/{a,b}", "d/x"),
        ("s3://d/**", "d/x"),
    ],
)
def test_other_places_are_allowed(place: Path, source: str, output: str) -> None:
    """Next to what a scan lists."""
    assert not is_found(place, source, output)


@pytest.mark.parametrize(
    ("source", "output", "finds"),
    [
        ("d/*-0*.tar", "d/b-%06d.tar", True),
        ("d/*-000012.tar", "d/b-%06d.tar", True),
        ("d/*-0*.tar", "d/b-%d.tar", True),
        ("d/a-*.tar", "d/b-%06d.tar", False),
        ("d/{a,b}-000001.tar", "d/b-%06d.tar", True),
        ("d/*.tar", "d/b.tar", True),
        ("d/*/*.tar", "d/b.tar", False),
        ("to-d/*.tar", "d/b.tar", True),
        ("d", "d/b-%06d.tar", True),
    ],
)
def test_names_of_shards(place: Path, source: str, output: str, *, finds: bool) -> None:
    """The number is one that a shard has."""
    assert is_found(place, source, output) is finds
