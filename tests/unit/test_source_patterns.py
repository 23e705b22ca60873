"""Sources that name many: lists, braces, wildcards; local and in fsspec's memory file system."""

from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from nsfw_app.dataset_errors import SourceError
from nsfw_app.datasets import patterns
from nsfw_app.datasets.left_out import LeftOut, LeftOutFiles
from nsfw_app.datasets.units import find_units

NAMES = ("a/1.jpg", "a/2.png", "a/b/3.jpg", "a/b/c/4.jpg", "d/5.jpg", "d/.6.jpg", "d/notes.txt")


@pytest.fixture(params=["local", "memory"])
def root(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """A directory with the files of `NAMES`: a path, and a URL."""
    system = fsspec.filesystem("memory" if request.param == "memory" else "file")
    root = "memory://images" if request.param == "memory" else str(tmp_path)
    for name in NAMES:
        system.pipe_file(f"{root}/{name}", b"x") if request.param == "memory" else None
        if request.param == "local":
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(b"x")
    yield root
    if request.param == "memory":
        system.rm("/images", recursive=True)


def found(*specs: str, left_out: LeftOutFiles | None = None) -> list[str]:
    """The uris of all files and containers of sources."""
    units = find_units(specs, left_out=left_out or LeftOutFiles())
    return [entry.uri for unit in units for entry in unit.entries]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a/*.jpg", ["a/1.jpg"]),
        ("a/?.[pj]*g", ["a/1.jpg", "a/2.png"]),
        ("a/**/*.jpg", ["a/1.jpg", "a/b/3.jpg", "a/b/c/4.jpg"]),
        ("*/b", ["a/b/3.jpg", "a/b/c/4.jpg"]),
        ("**/b/*/*", ["a/b/c/4.jpg"]),
        ("**/*", ["a/1.jpg", "a/2.png", "a/b/3.jpg", "a/b/c/4.jpg", "d/5.jpg"]),
        ("**", ["a/1.jpg", "a/2.png", "a/b/3.jpg", "a/b/c/4.jpg", "d/5.jpg"]),
        ("{d,a}/*.{jpg,png}", ["d/5.jpg", "a/1.jpg", "a/2.png"]),
        ("", ["a/1.jpg", "a/2.png", "a/b/3.jpg", "a/b/c/4.jpg", "d/5.jpg"]),
    ],
)
def test_patterns_and_directories(root: str, pattern: str, names: list[str]) -> None:
    """Directories that match are searched; order is that of the braces, then of names."""
    assert found(f"{root}/{pattern}") == [f"{root}/{name}" for name in names]


def test_files_that_a_pattern_leaves_out_are_counted(root: str) -> None:
    """Files that are not named as images, as in directories."""
    left_out = LeftOutFiles()
    assert found(f"{root}/d/*", left_out=left_out) == [f"{root}/d/5.jpg"]
    assert left_out.counts == {LeftOut.NAME: 1}


@pytest.mark.parametrize("pattern", ["x/*.jpg", "a/*.webp"])
def test_a_pattern_without_matches_is_an_error(root: str, pattern: str) -> None:
    """A wrong pattern is not an empty data set."""
    with pytest.raises(SourceError, match="matches nothing"):
        found(f"{root}/{pattern}")


def test_a_missing_source_is_an_error(root: str) -> None:
    """A remote one, too."""
    with pytest.raises(SourceError, match="does not exist"):
        found(f"{root}/missing")


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("s-{008..011}{a}.tar", ["s-008{a}.tar", "s-009{a}.tar", "s-010{a}.tar", "s-011{a}.tar"]),
        ("s-{0..11}", [f"s-{number}" for number in range(12)]),
        ("{8..010}", ["008", "009", "010"]),
        ("{5..2}", ["5", "4", "3", "2"]),
        ("{0..8..4}", ["0", "4", "8"]),
        ("{a,b{1,2}}", ["a", "b1", "b2"]),
        ("{x,x}", ["x", "x"]),
        ("{1..2}{b,a}", ["1b", "1a", "2b", "2a"]),
        *((text, [text]) for text in ("{a}", "{}", "{1..", "{a,b", "}{", "{1..a}", "a\\{b")),
    ],
)
def test_braces_mean_what_they_mean_in_bash(pattern: str, names: list[str]) -> None:
    """WebDataset means the same; braces without alternatives are characters."""
    assert list(patterns.without_braces(f"/{pattern}")) == [f"/{name}" for name in names]
    assert patterns.is_pattern(f"/{pattern}") == (names != [pattern])


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("s-{1..1000000000}.tar", "means more than 1,000,000 names"),
        ("{1..1000}" * 9, "means more than 1,000,000 names"),
        ("{a," * 3_000 + "}" * 3_000, "nested too deeply"),
    ],
)
def test_braces_that_mean_too_much_are_an_error(pattern: str, message: str) -> None:
    """They are counted before they are expanded."""
    with pytest.raises(SourceError, match=message):
        found(pattern)


def test_a_file_with_the_characters_of_a_pattern_is_that_file(tmp_path: Path) -> None:
    """A name is a name first."""
    path = tmp_path / "a[1]{b,c}.jpg"
    path.touch()
    assert found(str(path)) == [str(path)]


def test_lists_name_sources(root: str, tmp_path: Path) -> None:
    """Paths relative to the list, directories and URLs; empty lines are no sources."""
    path = tmp_path / "list.txt"
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "1.png").touch()
    path.write_text(f"here/1.png\n\n{root}/a/b\r\n{root}/d/5.jpg\n")
    names = ["a/b/3.jpg", "a/b/c/4.jpg", "d/5.jpg"]
    expected = [str(tmp_path / "here/1.png"), *(f"{root}/{name}" for name in names)]
    assert found(f"@{path}") == expected


def test_lines_of_a_list_are_taken_literally(tmp_path: Path) -> None:
    """No pattern and no list: names with such characters exist."""
    for name in ("a[1].jpg", "a1.jpg", "@b.jpg"):
        (tmp_path / name).touch()
    (tmp_path / "list.txt").write_text("a[1].jpg\n*.jpg\n@b.jpg\n")
    names = [entry.removeprefix(f"{tmp_path}/") for entry in found(f"@{tmp_path}/list.txt")]
    assert names == ["a[1].jpg", "*.jpg", "@b.jpg"]


def test_remote_lists_are_relative_to_themselves(root: str) -> None:
    """A list in a bucket names files of the bucket."""
    with fsspec.open(f"{root}/list.txt", "w") as file:
        file.write("a/1.jpg\nd\n")
    assert found(f"@{root}/list.txt") == [f"{root}/a/1.jpg", f"{root}/d/5.jpg"]


def test_a_missing_list_is_an_error(tmp_path: Path) -> None:
    """It is raised before anything is listed."""
    with pytest.raises(SourceError, match=r"list\.txt does not exist"):
        find_units([f"@{tmp_path}/list.txt"], left_out=LeftOutFiles())


def test_a_chain_of_a_cache_is_an_error() -> None:
    """Its password is not shown."""
    with pytest.raises(SourceError, match="'simplecache::' before a URL") as refused:
        found("simplecache::https://me:hunter2@h/x.jpg")
    assert "hunter2" not in str(refused.value)


def test_an_unknown_scheme_is_an_error() -> None:
    """Before anything is listed."""
    with pytest.raises(SourceError, match="gopher:// is not a scheme"):
        find_units(["gopher://x/y"], left_out=LeftOutFiles())


def test_circular_links_below_a_pattern(tmp_path: Path) -> None:
    """Each directory is searched once; a file that is reached without a link keeps its own path."""
    inner = tmp_path / "b" / "inner"
    inner.mkdir(parents=True)
    (inner / "1.jpg").write_bytes(b"x")
    (tmp_path / "a").symlink_to(inner)
    for name in ("loop", "again"):
        (inner / name).symlink_to(tmp_path)
    left_out = LeftOutFiles()
    assert list(patterns.matches(f"{tmp_path}/**/*.jpg", left_out)) == [str(inner / "1.jpg")]
    assert left_out.counts == {LeftOut.REPEATED: 3}
