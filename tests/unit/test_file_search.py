"""File search: which files are found, in which order, and what is left out."""

import os
from pathlib import Path

import pytest

from nsfw_app.datasets import patterns
from nsfw_app.datasets.file_search import FileSearch
from nsfw_app.datasets.left_out import LeftOut, LeftOutFiles


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A directory with images at three depths, and other files."""
    root = tmp_path / "root"
    for name in ("b.png", "a.JPG", "deep/c.webp", "deep/er/d.gif", "LICENSE", "notes.txt"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def found(search: FileSearch, *paths: Path) -> list[str]:
    """The relative paths of the files; those reached through links are marked with @."""
    return [f"{file.relative}{'@' * file.linked}" for file in search.files(list(paths))]


def test_directories_are_searched_in_order(root: Path) -> None:
    """Files come before subdirectories, both sorted; other files are counted."""
    search = FileSearch()
    assert found(search, root) == ["LICENSE", "a.JPG", "b.png", "deep/c.webp", "deep/er/d.gif"]
    assert search.left_out.summary() == f"Left out: not named as an image: 1 ({root}/notes.txt)."


def test_a_named_file_is_always_included(root: Path) -> None:
    """Hidden or with any extension, and twice if named twice."""
    hidden = root / ".hidden.txt"
    search = FileSearch()
    assert found(search, hidden, hidden) == [".hidden.txt"] * 2
    assert search.left_out.summary() == ""


def test_hidden_files_are_left_out_and_counted(root: Path) -> None:
    """Hidden files and directories are not found, and are reported as hidden."""
    (root / ".cache").mkdir()
    (root / ".cache" / "x.png").touch()
    for number in range(4):
        (root / f".{number}.png").touch()
    search = FileSearch()
    assert not [name for name in found(search, root) if "x.png" in name or name.startswith(".")]
    assert search.left_out.counts[LeftOut.HIDDEN] == 5
    assert (
        f"hidden: 5 ({root}/.0.png, {root}/.1.png, {root}/.2.png, ...)" in search.left_out.summary()
    )


def test_linked_directories_and_files_are_followed(root: Path, tmp_path: Path) -> None:
    """Linked directories come last; their files have the path of the link."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "e.png").touch()
    (root / "A-link").symlink_to(elsewhere)
    (root / "file.png").symlink_to(elsewhere / "e.png")
    (root / "nowhere.png").symlink_to(tmp_path / "nothing")
    names = found(FileSearch(), root)
    assert names[-1] == "A-link/e.png@"
    assert "file.png@" in names
    assert "nowhere.png@" in names  # so that the broken link is reported


def test_links_that_cannot_be_followed_are_files(root: Path) -> None:
    """As one into a directory that may not be searched; what comes after them is found."""
    (root / "a-long.png").symlink_to("x" * 300)
    (root / "a-self").symlink_to("a-self")
    named = Path("/" + "x" * 5_000)
    files = [*FileSearch().files([root, named])]
    assert [str(file.relative) for file in files if file.linked] == ["a-long.png", "a-self"]
    assert len(files) == 8
    images = patterns.matches(f"{root}/*.*", LeftOutFiles())
    assert [Path(name).name for name in images] == ["a-long.png", "a.JPG", "b.png"]


def test_circular_links_end(root: Path) -> None:
    """Each directory is searched once, under its own path, however many links point to it."""
    (root / "0-again").symlink_to(root)
    (root / "0-deep").symlink_to(root / "deep")
    (root / "deep" / "up").symlink_to("..")
    (root / "deep" / "er" / "self").symlink_to(".")
    search = FileSearch()
    assert found(search, root) == ["LICENSE", "a.JPG", "b.png", "deep/c.webp", "deep/er/d.gif"]
    assert search.left_out.counts[LeftOut.REPEATED] == 4
    assert "searched already: 4" in search.left_out.summary()


def test_links_between_linked_directories_are_followed(root: Path, tmp_path: Path) -> None:
    """A chain of links is followed to its end; a circle ends."""
    for name, other in (("one", "two"), ("two", "one")):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.png").touch()
        (tmp_path / name / "next").symlink_to(tmp_path / other)
    (root / "start").symlink_to(tmp_path / "one")
    assert found(FileSearch(), root)[-2:] == ["start/one.png@", "start/next/two.png@"]


def test_the_destination_is_not_searched(root: Path) -> None:
    """Neither directly nor through a link into it."""
    (root / "sorted" / "allow").mkdir(parents=True)
    (root / "sorted" / "allow" / "x.png").touch()
    (root / "link").symlink_to(root / "sorted" / "allow")
    search = FileSearch(excluded=root / "sorted")
    assert not [name for name in found(search, root) if "x.png" in name]
    assert search.left_out.counts[LeftOut.DESTINATION] == 2


def test_an_unreadable_directory_is_reported(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is counted; the other directories are searched."""
    scandir = os.scandir

    def refuse(path: Path) -> object:
        if Path(path).name == "deep":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    search = FileSearch()
    assert found(search, root) == ["LICENSE", "a.JPG", "b.png"]
    assert search.left_out.summary().endswith(f"cannot be read: 1 ({root}/deep).")


def test_names_that_are_not_text(root: Path) -> None:
    """Names that cannot be decoded are found, sorted and counted like others."""
    for name in (b"\xff.png", b"\xfe.txt"):
        Path(os.fsdecode(os.fsencode(root) + b"/" + name)).touch()
    search = FileSearch()
    assert os.fsdecode(b"\xff.png") in found(search, root)
    assert search.left_out.counts[LeftOut.NAME] == 2
