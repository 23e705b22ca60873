"""The record of a scan: written whole, read again as it was."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from nsfw_app.dataset_errors import ScanError
from nsfw_app.datasets.scan_record import FILE, ScanCounts, ScanRecord
from nsfw_app.imaging.decode import Limits
from nsfw_app.records import LabelRole, ModelIdentity, Policy

RECORD = ScanRecord(
    sources=("photos", "x/*.jpg"),
    model=ModelIdentity("fake", "r1", "f" * 64, "test"),
    roles={"porn": LabelRole.UNSAFE, "neutral": LabelRole.SAFE},
    policy=Policy(0.33, 0.2, 0.8, version=3),
    limits=Limits(10, 20, 30),
    started_at="2026-11-28T17:00:00.000Z",
    counts=ScanCounts(images=3, parts=1, errors={"empty": 1}),
    left_out={"hidden": 2},
)


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    """All fields, with the labels in the model's order; no temporary file remains."""
    RECORD.write(tmp_path)
    found = ScanRecord.read(tmp_path)
    assert found == RECORD
    assert list(found.roles) == ["porn", "neutral"]
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_author_and_reason_of_a_policy_are_not_written(tmp_path: Path) -> None:
    """They are texts of the installation's people; the version names the policy."""
    policy = replace(RECORD.policy, author="Ann Example", reason="audit of May")
    replace(RECORD, policy=policy).write(tmp_path)
    text = (tmp_path / FILE).read_text()
    assert "Ann" not in text
    assert "audit" not in text
    assert json.loads(text)["policy"]["version"] == 3


def test_a_directory_without_a_scan(tmp_path: Path) -> None:
    """It has no record, which is an error for what needs one."""
    assert ScanRecord.find(tmp_path) is None
    assert ScanRecord.find(tmp_path / "missing") is None
    with pytest.raises(ScanError, match="not the output of a scan"):
        ScanRecord.read(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is damaged"),
        ("[]", "is damaged"),
        ('{"format": 1}', "is damaged"),
        ('{"format": 2}', "has format 2"),
    ],
)
def test_a_record_that_cannot_be_used(tmp_path: Path, text: str, message: str) -> None:
    """A damaged file and one of a later version are errors, never an empty record."""
    (tmp_path / FILE).write_text(text)
    with pytest.raises(ScanError, match=message):
        ScanRecord.find(tmp_path)


def test_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    """The error names the directory and what to do."""
    (tmp_path / "file").touch()
    with pytest.raises(ScanError, match="run the same command again"):
        RECORD.write(tmp_path / "file")
