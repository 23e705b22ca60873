"""Outputs that are not complete: what killed processes left is deleted, and nothing else."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from nsfw_app.datasets.partial_output import PARTIAL, partial_directory, partial_file, publish
from tests.support.python_process import ROOT

WRITER = """
import sys, time
from pathlib import Path
from nsfw_app.datasets.partial_output import partial_directory, partial_file
path = Path(sys.argv[1])
with partial_directory(path) as directory, partial_file(path.with_suffix(".txt")):
    (directory / "half").write_text("written")
    print("writing", flush=True)
    time.sleep(60)
"""
Partial = Callable[[Path], AbstractContextManager[Path]]
BOTH = pytest.mark.parametrize("make", [partial_file, partial_directory])


def left(directory: Path) -> list[Path]:
    """What is not complete."""
    return sorted(directory.glob(f"{PARTIAL}*"))


@BOTH
def test_it_is_renamed_or_deleted(tmp_path: Path, make: Partial) -> None:
    """Complete it keeps its new name; else nothing stays."""
    with make(tmp_path / "out") as partial:
        partial.rename(tmp_path / "out")
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]
    with pytest.raises(KeyError), make(tmp_path / "other"):
        raise KeyError
    assert left(tmp_path) == []


@BOTH
@pytest.mark.parametrize("other", ["file", "empty directory", "directory", "dangling link"])
def test_what_got_the_name_first_stays(tmp_path: Path, make: Partial, other: str) -> None:
    """Nothing is replaced, also not an empty directory, which renaming could do."""
    path = tmp_path / "out"
    with make(path) as partial:
        match other:
            case "file":
                path.touch()
            case "dangling link":
                path.symlink_to(tmp_path / "missing")
            case _:
                path.mkdir()
                if other == "directory":
                    (path / "file").touch()
        before = path.lstat()
        with pytest.raises(FileExistsError):
            publish(partial, path)
        assert path.lstat() == before
    assert left(tmp_path) == []


@BOTH
def test_it_is_on_disk_before_it_has_its_name(
    tmp_path: Path, make: Partial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the name is on disk as well once it has it."""
    path, synced = tmp_path / "out", []
    monkeypatch.setattr(os, "sync", lambda: synced.append((path.exists(), len(left(tmp_path)))))
    monkeypatch.setattr(os, "fsync", lambda _: synced.append((path.exists(), len(left(tmp_path)))))
    with make(path) as partial:
        publish(partial, path)
    assert synced == [(False, 1), (True, 0)]
    with make(tmp_path / "other") as partial, pytest.raises(OSError, match="No such file"):
        publish(partial, tmp_path / "missing" / "out")
    assert left(tmp_path) == []


def test_what_a_killed_process_left_is_deleted_and_what_runs_is_not(tmp_path: Path) -> None:
    """By the next run of the same output; one of another output leaves it alone."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path / "out")],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.readline()
    running = left(tmp_path)
    assert len(running) == 2
    for path, make in (("out", partial_directory), ("out.txt", partial_file)):
        with make(tmp_path / path):
            assert set(running) < set(left(tmp_path))
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert left(tmp_path) == running
    with partial_directory(tmp_path / "another"), partial_file(tmp_path / "another.txt"):
        assert set(running) < set(left(tmp_path))
    with partial_directory(tmp_path / "out"), partial_file(tmp_path / "out.txt"):
        assert not set(running) & set(left(tmp_path))
    assert left(tmp_path) == []


@BOTH
def test_without_locks_nothing_of_others_is_deleted(
    tmp_path: Path, make: Partial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on some network mounts."""

    def fail(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("nsfw_app.datasets.partial_output.fcntl.flock", fail)
    with make(tmp_path / "out") as first, make(tmp_path / "out") as second:
        assert left(tmp_path) == sorted([first, second])
    assert left(tmp_path) == []
