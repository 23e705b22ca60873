"""Action folders: no file is lost, overwritten or stored twice."""

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from nsfw_app.cli import action_folders
from nsfw_app.cli.action_folders import ActionFolders, Transfer
from nsfw_app.datasets.file_search import FoundFile
from nsfw_app.errors import SortingError
from nsfw_app.imaging.decode import sha256
from nsfw_app.records import Action, Policy, Review, Verdict

MOVE, COPY = Transfer.MOVE, Transfer.COPY
POLICY = Policy(0.5, 0.2, 0.8)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A file to sort."""
    path = tmp_path / "source" / "deep" / "a.png"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"an image")
    os.utime(path, (1_000_000_000, 1_000_000_000))
    return path


@pytest.fixture
def sorted_dir(tmp_path: Path) -> Path:
    """The destination."""
    return tmp_path / "sorted"


@pytest.fixture
def other_disk() -> Iterator[Path]:
    """A directory on another file system."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        assert Path(directory).stat().st_dev != Path(tempfile.gettempdir()).stat().st_dev
        yield Path(directory)


def classified(path: Path, action: Action = Action.ALLOW) -> Review:
    """The review of a file with its current content."""
    return Review(str(path), POLICY, Verdict(None, action), sha256(path.read_bytes()))


def found(path: Path, relative: str = "deep/a.png", *, linked: bool = False) -> FoundFile:
    """A file as `FileSearch` returns it."""
    return FoundFile(path, Path(relative), linked)


def add(
    directory: Path, path: Path, transfer: Transfer, action: Action = Action.ALLOW, **changes: Any
) -> None:
    """Sort one file by its action."""
    ActionFolders(directory, transfer).add(found(path, **changes), classified(path, action))


def contents(directory: Path) -> dict[str, bytes]:
    """All files below a directory."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("transfer", Transfer)
def test_a_file_goes_to_the_folder_of_its_action(
    source: Path, sorted_dir: Path, transfer: Transfer, action: Action
) -> None:
    """Under its relative path, with its modification time; a moved original is deleted."""
    add(sorted_dir, source, transfer, action)
    assert contents(sorted_dir) == {f"{action}/deep/a.png": b"an image"}
    assert (sorted_dir / action / "deep" / "a.png").stat().st_mtime == 1_000_000_000
    assert source.exists() is (transfer is COPY)


@pytest.mark.parametrize("transfer", Transfer)
def test_nothing_is_overwritten(source: Path, sorted_dir: Path, transfer: Transfer) -> None:
    """A file of the same name keeps it; the new one gets part of its hash."""
    for other in (b"other", b"another"):
        path = source.with_name("other.png")
        path.write_bytes(other)
        add(sorted_dir, path, COPY)
    digest = sha256(b"an image")
    add(sorted_dir, source, transfer)
    assert contents(sorted_dir) == {
        "allow/deep/a.png": b"other",
        f"allow/deep/a.{sha256(b'another')[:12]}.png": b"another",
        f"allow/deep/a.{digest[:12]}.png": b"an image",
    }


def test_a_file_without_a_free_name_stays(source: Path, sorted_dir: Path) -> None:
    """If all its names are taken by other files, that is an error and nothing changes."""
    digest = sha256(b"an image")
    folder = sorted_dir / "allow" / "deep"
    folder.mkdir(parents=True)
    for mark in ("", f".{digest[:12]}", f".{digest}"):
        (folder / f"a{mark}.png").write_bytes(b"other")
    before = contents(sorted_dir)
    with pytest.raises(SortingError, match="every name for it is taken"):
        add(sorted_dir, source, MOVE)
    assert (contents(sorted_dir), source.read_bytes()) == (before, b"an image")


def test_a_second_run_copies_nothing(source: Path, sorted_dir: Path) -> None:
    """A sorted file is recognized, under its own name or the one with the hash."""
    (sorted_dir / "allow" / "deep").mkdir(parents=True)
    (sorted_dir / "allow" / "deep" / "a.png").write_bytes(b"other")
    add(sorted_dir, source, COPY)
    before = contents(sorted_dir)
    times = {path: path.stat().st_mtime_ns for path in sorted_dir.rglob("*")}
    add(sorted_dir, source, COPY)
    assert contents(sorted_dir) == before
    assert {path: path.stat().st_mtime_ns for path in sorted_dir.rglob("*")} == times


@pytest.mark.parametrize("transfer", Transfer)
def test_a_new_action_moves_the_earlier_copy(
    source: Path, sorted_dir: Path, transfer: Transfer
) -> None:
    """After a new policy, or once the model is available, no copy stays under the old action."""
    add(sorted_dir, source, COPY, Action.UNAVAILABLE)
    add(sorted_dir, source, transfer, Action.BLOCK)
    assert contents(sorted_dir) == {"block/deep/a.png": b"an image"}
    assert source.exists() is (transfer is COPY)


@pytest.mark.parametrize("transfer", Transfer)
def test_across_file_systems(source: Path, other_disk: Path, transfer: Transfer) -> None:
    """The result is the same as on one file system."""
    add(other_disk, source, transfer)
    assert contents(other_disk) == {"allow/deep/a.png": b"an image"}
    assert (other_disk / "allow" / "deep" / "a.png").stat().st_mtime == 1_000_000_000
    assert source.exists() is (transfer is COPY)


@pytest.mark.parametrize("transfer", Transfer)
def test_the_target_of_a_link_is_copied(source: Path, sorted_dir: Path, transfer: Transfer) -> None:
    """Link and target stay in place, also with `--move-to`."""
    link = source.with_name("link.png")
    link.symlink_to(source)
    add(sorted_dir, link, transfer, linked=True, relative="link.png")
    assert contents(sorted_dir) == {"allow/link.png": b"an image"}
    assert not (sorted_dir / "allow" / "link.png").is_symlink()
    assert link.is_symlink()
    assert source.read_bytes() == b"an image"


@pytest.mark.parametrize("transfer", Transfer)
def test_a_file_that_changed_is_not_sorted(
    source: Path, sorted_dir: Path, transfer: Transfer
) -> None:
    """The verdict is of other bytes, so the file stays in place."""
    review = classified(source)
    source.write_bytes(b"another image")
    with pytest.raises(SortingError, match=r"deep/a\.png was not sorted: it changed"):
        ActionFolders(sorted_dir, transfer).add(found(source), review)
    assert source.read_bytes() == b"another image"
    assert not sorted_dir.exists()


@pytest.mark.parametrize("transfer", Transfer)
def test_a_file_that_changes_while_it_is_copied_is_not_sorted(
    source: Path, other_disk: Path, monkeypatch: pytest.MonkeyPatch, transfer: Transfer
) -> None:
    """The copy is compared with the classified bytes before the original is deleted."""
    copy = shutil.copy2

    def change_and_copy(path: Path, target: Path) -> None:
        path.write_bytes(b"another image")
        copy(path, target)

    monkeypatch.setattr(shutil, "copy2", change_and_copy)
    with pytest.raises(SortingError, match="changed while it was copied"):
        add(other_disk, source, transfer)
    assert source.read_bytes() == b"another image"
    assert contents(other_disk) == {}


@pytest.mark.parametrize("where", ["same disk", "other disk", "no links"])
@pytest.mark.parametrize("transfer", Transfer)
def test_a_name_taken_by_another_process_is_not_overwritten(
    source: Path,
    sorted_dir: Path,
    other_disk: Path,
    monkeypatch: pytest.MonkeyPatch,
    transfer: Transfer,
    where: str,
) -> None:
    """Another process may create the same name at the same moment; both files are kept."""
    directory = other_disk if where == "other disk" else sorted_dir
    taken = directory / "allow" / "deep" / "a.png"
    taken.parent.mkdir(parents=True)
    taken.write_bytes(b"just written")
    monkeypatch.setattr(os.path, "lexists", lambda path: False)
    if where == "no links":
        monkeypatch.setattr(Path, "hardlink_to", no_links)
    with pytest.raises(SortingError, match="File exists"):
        add(directory, source, transfer)
    assert contents(directory) == {"allow/deep/a.png": b"just written"}
    assert source.read_bytes() == b"an image"


def no_links(*_: object) -> None:
    """Fails like a file system without hard links."""
    raise OSError(errno.EPERM, os.strerror(errno.EPERM))


@pytest.mark.parametrize("transfer", Transfer)
def test_the_original_at_another_mount_is_kept(
    source: Path, sorted_dir: Path, tmp_path: Path, transfer: Transfer
) -> None:
    """If another mount shows the destination, the sorted file is the original itself."""
    add(sorted_dir, source, MOVE)
    mount = tmp_path / "mount"
    mount.symlink_to(sorted_dir / "allow")
    add(sorted_dir, mount / "deep" / "a.png", transfer)
    assert contents(sorted_dir) == {"allow/deep/a.png": b"an image"}


@pytest.mark.parametrize("transfer", Transfer)
def test_a_file_that_was_never_read_is_sorted(
    source: Path, sorted_dir: Path, transfer: Transfer
) -> None:
    """A file over the limit has no hash in its review and is sorted into `unavailable`."""
    review = Review(str(source), POLICY, Verdict())
    ActionFolders(sorted_dir, transfer).add(found(source), review)
    assert contents(sorted_dir) == {"unavailable/deep/a.png": b"an image"}


@pytest.mark.parametrize("kind", ["missing", "pipe", "directory"])
def test_a_path_that_is_not_a_file_is_an_error(tmp_path: Path, sorted_dir: Path, kind: str) -> None:
    """A pipe is not opened, because that would wait for a writer."""
    path = tmp_path / "odd.png"
    {"missing": lambda: None, "pipe": lambda: os.mkfifo(path), "directory": path.mkdir}[kind]()
    with pytest.raises(SortingError, match=r"odd\.png was not sorted"):
        ActionFolders(sorted_dir, MOVE).add(found(path), Review("x", POLICY, Verdict()))


@pytest.mark.parametrize("transfer", Transfer)
def test_a_full_disk_leaves_no_partial_file(
    source: Path, other_disk: Path, monkeypatch: pytest.MonkeyPatch, transfer: Transfer
) -> None:
    """The message has the reason; the original stays in place."""

    def fill(_: Path, target: Path) -> None:
        target.write_bytes(b"an im")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(shutil, "copy2", fill)
    with pytest.raises(SortingError, match=r"a\.png was not sorted: No space left on device"):
        add(other_disk, source, transfer)
    assert source.read_bytes() == b"an image"
    assert contents(other_disk) == {}


STEPS = [
    (Path, "hardlink_to"),
    (Path, "unlink"),
    (Path, "replace"),
    (Path, "touch"),
    (shutil, "copy2"),
    (action_folders, "_flush"),
]


class Killed(BaseException):
    """The command is killed."""


def killed_at(patch: pytest.MonkeyPatch, number: int, *, has_links: bool) -> Callable[[], bool]:
    """Kill the command before or after one file system operation.

    Args:
        patch: Wraps the operations.
        number: Odd: before an operation; even: after it.
        has_links: Whether hard links work.

    Returns:
        A function that returns whether the number was reached.
    """
    count = 0

    def wrap(step: Callable[..., Any]) -> Callable[..., Any]:
        def act(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            if count == number:
                raise Killed
            if step.__name__ == "hardlink_to" and not has_links:
                no_links()
            result = step(*args, **kwargs)
            count += 1
            if count == number:
                raise Killed
            return result

        return act

    for owner, name in STEPS:
        patch.setattr(owner, name, wrap(getattr(owner, name)))
    return lambda: count >= number


@pytest.mark.parametrize("has_links", [True, False], ids=["links", "no-links"])
@pytest.mark.parametrize("transfer", Transfer)
def test_the_next_run_completes_a_killed_one(
    tmp_path: Path, transfer: Transfer, has_links: bool
) -> None:
    """At any step the bytes are complete somewhere; after the next run each file exists once."""
    number = 1
    while True:
        place = tmp_path / str(number)
        source = place / "source" / "a.png"
        source.parent.mkdir(parents=True)
        source.write_bytes(b"an image")
        with pytest.MonkeyPatch.context() as patch:
            was_reached = killed_at(patch, number, has_links=has_links)
            with suppress(Killed):
                add(place / "sorted", source, transfer)
        whole = [path for path, data in contents(place).items() if data == b"an image"]
        assert [path for path in whole if not path.endswith(".part")], number
        if source.exists():
            add(place / "sorted", source, transfer)
        remains = contents(place)
        if not has_links:  # an empty file may have taken the name
            remains = {path: data for path, data in remains.items() if data}
        assert len(remains) == (2 if transfer is COPY else 1), (number, remains)
        assert source.exists() is (transfer is COPY)
        (name,) = {path for path in remains if path.startswith("sorted/")}
        assert name.startswith("sorted/allow/deep/a.")
        assert set(remains.values()) == {b"an image"}
        if has_links:
            assert name == "sorted/allow/deep/a.png"
        if not was_reached():
            break
        number += 1
    assert number > 3
