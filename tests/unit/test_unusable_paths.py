"""Paths that cannot be used: too long, or below a directory of another user; one sentence each."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from nsfw_app.dataset_errors import SourceError
from nsfw_app.datasets.left_out import LeftOutFiles
from nsfw_app.datasets.scan_record import ScanRecord
from nsfw_app.datasets.units import find_units
from tests.support.commands import Run, run
from tests.support.scans import record

__all__ = ["run"]  # a fixture

LONG = "a" * 300  # no file system has names of more than 255 bytes
OTHER_USER = 65534


@pytest.fixture
def private(tmp_path: Path) -> Iterator[Path]:
    """A directory that this process may not search."""
    private = tmp_path / "private"
    private.mkdir()
    private.chmod(0)
    if os.geteuid() != 0:
        yield private
    else:
        os.seteuid(OTHER_USER)
        yield private
        os.seteuid(0)
    private.chmod(0o700)


@pytest.mark.parametrize("source", ["{}/x.jpg", "@{}/l.txt", "{}/set/", "zip://a.jpg::{}/x.zip"])
def test_a_source_of_another_user_is_one_error(private: Path, source: str) -> None:
    """It says that it cannot be read, not that it is missing."""
    with pytest.raises(SourceError, match=r"cannot be read: Permission denied\.$"):
        find_units([source.format(private)], left_out=LeftOutFiles())


def test_a_pattern_of_another_user_is_one_error(private: Path) -> None:
    """With the directory that cannot be read."""
    with pytest.raises(SourceError, match=rf"matches nothing: {private} cannot be read\.$"):
        find_units([f"{private}/*.jpg"], left_out=LeftOutFiles())


@pytest.mark.parametrize("source", [LONG, f"{LONG}*", f"@{LONG}", f"{LONG}/*"])
def test_a_source_with_a_long_name_is_one_error(run: Run, tmp_path: Path, source: str) -> None:
    """The command ends before the model is loaded."""
    ended = run("scan", source, "--output", tmp_path / "out")
    assert ended.code == 1
    assert ended.err.startswith("Error: ")
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["scan", "photos", "--output", LONG], 1),
        (["filter", "scanned", "--output", f"{LONG}/kept.txt"], 2),
        (["filter", "scanned", "--output", "kept.txt", "--report", f"{LONG}/kept.html"], 2),
        (["filter", LONG], 1),
        (["training-set", "--output", LONG], 1),
        (["training-set", "--output", f"{LONG}/set"], 1),
        (["train", "training-set", "--output", f"{LONG}/model"], 1),
        (["train", LONG, "--output", "model"], 1),
        (["import-labels", LONG, "--source", "elsewhere"], 1),
        (["import-labels", f"{LONG}.csv", "--source", "elsewhere"], 1),
        (["evaluate", LONG], 2),
        (["classify", "photos", "--move-to", LONG], 0),
        (["backup", LONG], 1),
    ],
)
def test_a_long_name_is_one_error(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int
) -> None:
    """Of an output or an input of each command that takes files."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "training-set").mkdir()
    (tmp_path / "scanned" / "images").mkdir(parents=True)
    record(tmp_path / "photos").write(tmp_path / "scanned")
    ended = run(*arguments)
    assert ended.code == code, ended.err
    assert "Traceback" not in ended.err


def test_a_scan_whose_source_cannot_be_read_is_one_error(run: Run, tmp_path: Path) -> None:
    """Where `filter` copies images of it."""
    (tmp_path / "scanned" / "images").mkdir(parents=True)
    record(Path("/") / LONG).write(tmp_path / "scanned")
    assert ScanRecord.read(tmp_path / "scanned").sources == (f"/{LONG}",)
    ended = run("filter", tmp_path / "scanned", "--format", "copy", "--output", tmp_path / "kept")
    assert ended.code == 1
    assert "cannot be read: File name too long." in ended.err
