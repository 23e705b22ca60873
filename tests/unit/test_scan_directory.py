"""The directory of a scan: one process at a time, and only rows that are consistent."""

import os
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nsfw_app.dataset_errors import ScanDiffers, ScanError, ScanRunning
from nsfw_app.datasets.output_file import PARTIAL
from nsfw_app.datasets.scan_directory import ScanDirectory, source_name
from nsfw_app.datasets.scan_record import ScanRecord
from nsfw_app.imaging.decode import Limits
from nsfw_app.records import LabelRole, ModelIdentity, Policy
from tests.support.fakes import LIMITS, image_bytes
from tests.support.scans import record, rows, scan

WANTED = record(Path("photos"))


def opened(path: Path, wanted: ScanRecord = WANTED) -> ScanRecord:
    """The record of the scan after it was opened and closed."""
    with ScanDirectory.opened(path, wanted) as directory:
        return directory.record


def test_one_process_at_a_time(tmp_path: Path) -> None:
    """A second one is refused with what to do; the lock ends with the first."""
    with ScanDirectory.opened(tmp_path, WANTED), pytest.raises(ScanRunning, match="Wait for it"):
        opened(tmp_path)
    opened(tmp_path)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"model": ModelIdentity("other", "r1", "f" * 64, "test")}, ["fake", "other"]),
        ({"model": ModelIdentity("fake", "r2", "f" * 64, "test")}, ["revision r1", "r2"]),
        ({"model": ModelIdentity("fake", "r1", "e" * 64, "test")}, ["weights", "eee"]),
        ({"model": ModelIdentity("fake", "r1", "f" * 64, "int8")}, ["backend test", "int8"]),
        ({"limits": replace(LIMITS, max_pixels=5)}, ["4,000,000 pixels (NSFW_MAX_PIXELS)", "5"]),
        ({"limits": Limits(1, 2, 3)}, ["NSFW_MAX_FILE_MB", "NSFW_MAX_FRAMES"]),
        (
            {"roles": {"normal": LabelRole.SAFE, "nsfw": LabelRole.SAFE}},
            ["nsfw (unsafe) in place of normal (safe), nsfw (safe)"],
        ),
    ],
)
def test_another_model_or_limit_is_refused(
    tmp_path: Path, changed: Mapping[str, Any], words: list[str]
) -> None:
    """The message says what differs and what to do; the record stays as it is."""
    earlier = opened(tmp_path)
    with pytest.raises(ScanDiffers) as refused:
        opened(tmp_path, replace(WANTED, **changed))
    for word in (*words, "choose another --output"):
        assert word in str(refused.value)
    assert ScanRecord.read(tmp_path) == earlier


def test_the_policy_of_the_scan_is_kept(tmp_path: Path) -> None:
    """So that its rows are consistent."""
    opened(tmp_path)
    other = replace(WANTED, policy=Policy(0.9, 0.1, 0.95, version=7))
    assert opened(tmp_path, other).policy == WANTED.policy


def test_sources_can_be_added_and_not_left_out(tmp_path: Path) -> None:
    """Without a source, the rows of its images would be deleted."""
    opened(tmp_path)
    both = replace(WANTED, sources=("more", "photos"))
    assert opened(tmp_path, both).sources == ("photos", "more")
    with pytest.raises(ScanDiffers, match="also the scan of more"):
        opened(tmp_path)


def test_files_of_killed_processes_are_deleted(tmp_path: Path) -> None:
    """Temporary files that were not given their names yet."""
    opened(tmp_path)
    for directory in (tmp_path, tmp_path / "images"):
        (directory / f"{PARTIAL}1").touch()
    opened(tmp_path)
    assert list(tmp_path.rglob(f"{PARTIAL}*")) == []


def test_a_source_without_images_deletes_nothing(tmp_path: Path) -> None:
    """As when its disk is not mounted."""
    source, output = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    (source / "a.png").write_bytes(image_bytes(1))
    scan(source, output)
    (source / "a.png").unlink()
    with pytest.raises(ScanError, match="not mounted"):
        scan(source, output)
    assert len(rows(output)) == 1


def test_an_unreadable_directory_deletes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its images may be there; the scan is finished when it can be read again."""
    source, output = tmp_path / "source", tmp_path / "out"
    for name in ("a", "b"):
        (source / name).mkdir(parents=True)
        (source / name / f"{name}.png").write_bytes(image_bytes(ord(name)))
    scan(source, output)
    scandir = os.scandir

    def refuse(path: Path) -> object:
        if Path(path).name == "b":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(ScanError, match="b cannot be read, so the scan is not finished"):
        scan(source, output)
    assert ScanRecord.read(output).finished_at is None
    monkeypatch.setattr(os, "scandir", scandir)
    scan(source, output)
    assert len(rows(output)) == 2


def test_a_container_that_cannot_be_opened_deletes_nothing(tmp_path: Path) -> None:
    """The rows of its members stay until it can be opened again, or is removed."""
    source, output = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    archive = source / "a.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("x.png", image_bytes(1))
    (source / "b.png").write_bytes(image_bytes(2))
    scan(source, output)
    data = archive.read_bytes()
    archive.write_bytes(data[:-30])
    with pytest.raises(ScanError, match=r"a\.zip cannot be read, so the scan is not finished"):
        scan(source, output)
    assert {row["error_kind"] for row in rows(output).values()} == {None, "unreadable"}
    archive.unlink()
    scan(source, output)
    assert list(rows(output)) == ["b.png"]


def test_sources_are_named_by_absolute_paths_without_secrets() -> None:
    """So that another working directory is another source, and no key is written."""
    here = str(Path.cwd())
    assert source_name(".") == here
    assert source_name("@list.txt") == f"@{here}/list.txt"
    assert source_name("s3://key:secret@bucket/a") == "s3://bucket/a"


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    """A typed error with its path."""
    (tmp_path / "file").touch()
    with pytest.raises(ScanError, match="file"):
        opened(tmp_path / "file" / "out")
