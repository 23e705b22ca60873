"""`check`: each fault is found, nothing is changed, the exit status is for monitors."""

import json
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from nsfw_app import bootstrap
from nsfw_app.backups.snapshot_directory import SnapshotDirectory
from nsfw_app.backups.snapshots import SnapshotWriter
from nsfw_app.checks import clock, disk, optimized_models
from nsfw_app.checks.database import check_database
from nsfw_app.checks.finding import Severity
from nsfw_app.checks.previews import Depth, check_previews
from nsfw_app.checks.secrets import check_secrets
from nsfw_app.cli import main
from nsfw_app.rules.permissions import Permission, UserRole
from nsfw_app.rules.queue import QueueReason
from nsfw_app.store import Store
from nsfw_app.store.keys import Webhook
from tests.support.sample_records import SHA256, add, add_image, admitted, answer

Run = Callable[..., tuple[str, str]]
OTHER_SHA256 = "b" * 64


def jpeg() -> bytes:
    """A small preview."""
    out = BytesIO()
    Image.effect_noise((64, 64), 50).save(out, "JPEG")
    return out.getvalue()


@pytest.fixture
def filled(store: Store) -> Store:
    """A store with two sound previews, one of an image in the queue, and a decision."""
    for image in (SHA256, OTHER_SHA256):
        add_image(store, sha256=image)
        store.previews.add(image, jpeg())
    add(store.log, answer("n"))
    store.catalog.record(store.catalog.get(2), arrival=admitted(QueueReason.REVIEW))
    return store


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs `check` on the test's store; returns standard output and standard error."""
    monkeypatch.setenv("NSFW_DATA_DIR", str(tmp_path))

    def run(*options: str, code: int = 0) -> tuple[str, str]:
        monkeypatch.setattr(sys, "argv", ["nsfw_app", "check", *options])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        assert (ended.value.code or 0) == code, captured.err
        return captured.out, captured.err

    return run


def found(run: Run, *options: str, code: int) -> list[dict[str, Any]]:
    """The findings of `check --json`, those of the disk left out."""
    findings = json.loads(run("--json", *options, code=code)[0])["findings"]
    return [each for each in findings if each["check"] != disk.NAME]


def test_a_sound_installation_has_no_fault(run: Run, filled: Store) -> None:
    """The names of the checks are printed, and the exit status is 0."""
    out, _ = run()
    assert out.startswith("No fault found in settings, database, previews, secrets, optimized mod")
    assert found(run, "--full", code=0) == []


def test_a_derived_table_that_differs_is_a_fault(run: Run, filled: Store, tmp_path: Path) -> None:
    """It is named with the number of rows."""
    with closing(sqlite3.connect(tmp_path / "review.db")) as db:
        db.execute("delete from log_days")
        db.commit()
    (finding,) = found(run, code=1)
    assert finding["severity"] == "fault"
    assert "log_days: 1 rows missing" in finding["message"]
    assert "fault, database: log_days" in run(code=1)[1]


def test_a_broken_reference_is_a_fault(filled: Store, tmp_path: Path) -> None:
    """SQLite does not enforce references on connections of other programs."""
    with closing(sqlite3.connect(tmp_path / "review.db")) as db:
        db.execute("delete from images where sha256 like 'b%'")
        db.commit()
    messages = [each.message for each in check_database(filled, tmp_path / "review.db")]
    assert any("missing row of images" in message for message in messages)


def test_damaged_pages_are_a_fault(run: Run, filled: Store, tmp_path: Path) -> None:
    """Also where they keep the store from opening."""
    for number in range(30):
        add_image(filled, sha256=f"{number:064x}")
    filled._connections.overwrite_log()
    filled._connections.close()
    path = tmp_path / "review.db"
    content = bytearray(path.read_bytes())
    content[4_096 * 3 :] = b"\xa5" * (len(content) - 4_096 * 3)
    path.write_bytes(content)
    findings = found(run, code=1)
    assert {each["check"] for each in findings} == {"database"}
    assert all(each["severity"] == "fault" for each in findings)


def test_an_emptied_database_is_a_fault(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not replaced by a new one."""
    monkeypatch.setattr(bootstrap, "CREATION_WAIT_S", 0)
    (tmp_path / "review.db").touch()
    (finding,) = found(run, code=1)
    assert finding["check"] == "database"
    assert "is empty (0 bytes): The database is damaged" in finding["message"]
    assert (tmp_path / "review.db").stat().st_size == 0


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"NSFW_HOST": "0.0.0.0"}, "NSFW_HOST='0.0.0.0' can be reached from other machines, but"),
        ({"NSFW_MODEL": "/nonexistent/dir"}, "'/nonexistent/dir' is neither a directory nor a hub"),
        (
            {"NSFW_DETAIL_MODEL": "../missing"},
            "NSFW_DETAIL_MODEL='../missing' cannot be loaded: '../missing' is neither",
        ),
        ({"NSFW_MODEL": "/"}, "holds no complete model"),
    ],
)
def test_settings_with_which_nothing_works_are_faults(
    variables: dict[str, str], message: str, run: Run, filled: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The server refuses them at its start, or has no model."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    (finding,) = found(run, code=1)
    assert (finding["check"], finding["severity"]) == ("settings", "fault")
    assert message in finding["message"]


def test_a_user_who_can_sign_in_allows_every_address(
    run: Run, filled: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the server's start does."""
    monkeypatch.setenv("NSFW_HOST", "0.0.0.0")
    filled.users.add_user("ann", "hash", UserRole.ADMIN, actor="test")
    assert found(run, code=0) == []


def test_a_misspelled_setting_is_a_warning(
    run: Run, filled: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no effect, which nothing else shows; the setting that may be meant is named."""
    monkeypatch.setenv("NSFW_TRESHOLD", "0.5")
    monkeypatch.setenv("NSFW_QQQQQQQQQQQQ", "1")
    monkeypatch.setenv("NSFW_KEEP_DAYS", "10")
    far, near = found(run, code=0)
    assert (far["check"], far["severity"]) == ("settings", "warning")
    assert far["message"] == "NSFW_QQQQQQQQQQQQ is not a setting and has no effect."
    assert near["message"].endswith("has no effect. Is NSFW_THRESHOLD meant?")


def test_a_hub_model_that_is_not_here_is_a_warning(
    run: Run, filled: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The start downloads it; the check asks no hub."""
    monkeypatch.setenv("NSFW_MODEL", "owner/a-model-that-is-not-here")
    (finding,) = found(run, code=0)
    assert "downloads it when it starts" in finding["message"]


def test_missing_previews_are_found(filled: Store) -> None:
    """A fault where reviewers wait for it, else a warning."""
    filled.previews.remove(OTHER_SHA256)
    (finding,) = check_previews(filled, depth=Depth.ENDS)
    assert finding.severity is Severity.FAULT
    assert OTHER_SHA256 in finding.message
    add_image(filled, sha256="c" * 64)
    filled.previews.remove("c" * 64)
    findings = list(check_previews(filled, depth=Depth.ENDS))
    assert [each.severity for each in findings] == [Severity.FAULT, Severity.WARNING]


def test_surplus_previews_are_a_warning(run: Run, filled: Store) -> None:
    """The next purge deletes them; the exit status stays 0."""
    filled.previews.add("c" * 64, jpeg())
    (finding,) = found(run, code=0)
    assert (finding["severity"], finding["check"]) == ("warning", "previews")
    assert "1 previews belong to no image" in finding["message"]
    assert "warning, previews" in run()[1]


@pytest.mark.parametrize("content", [b"", b"hello", jpeg()[:-100]])
def test_a_preview_that_was_cut_short_is_a_fault(content: bytes, filled: Store) -> None:
    """Its ends show that; the message says what to do."""
    filled.previews.add(SHA256, content)
    (finding,) = check_previews(filled, depth=Depth.ENDS)
    assert f"purge --image {SHA256}" in finding.message


def test_only_full_decodes_previews(run: Run, filled: Store) -> None:
    """Damage between the ends of a file is found by decoding it."""
    content = jpeg()
    filled.previews.add(SHA256, content[:2] + bytes(len(content) - 4) + content[-2:])
    assert found(run, code=0) == []
    (finding,) = found(run, "--full", code=1)
    assert "is damaged" in finding["message"]


def test_a_secret_that_cannot_be_decrypted_is_a_fault(filled: Store, tmp_path: Path) -> None:
    """As after a restore of review.db without its key; revoked keys need none."""
    for name in ("hook", "old"):
        filled.keys.add(
            name, name, [Permission.CLASSIFY], per_minute=1, actor="test",
            webhook=Webhook("https://example.com", "whsec_x"), expires_at=None,
        )  # fmt: skip
    filled.keys.revoke("old", actor="test")
    assert list(check_secrets(filled)) == []
    (tmp_path / "review.db.key").unlink()
    (finding,) = check_secrets(filled)
    assert "'hook'" in finding.message


def test_a_changed_optimized_model_is_a_fault(tmp_path: Path) -> None:
    """A description that cannot be read is one; no directory is none."""
    assert list(optimized_models.check_optimized_models(tmp_path / "engines")) == []
    build = tmp_path / "engines" / "m" / "r" / "onnx" / "1"
    build.mkdir(parents=True)
    (build / "artefact.json").write_text("{}")
    (finding,) = optimized_models.check_optimized_models(tmp_path / "engines")
    assert str(build) in finding.message


@pytest.mark.parametrize(
    ("free", "severities"),
    [(10**8, [Severity.FAULT]), (5 * 10**8, [Severity.WARNING]), (10**12, [])],
)
def test_free_space_is_checked(
    free: int, severities: list[Severity], filled: Store, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Almost none is a fault, little is a warning."""
    usage = type("Usage", (), {"free": free})
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: usage)
    findings = list(disk.check_disk(tmp_path / "review.db"))
    assert [each.severity for each in findings] == severities


def test_free_space_for_snapshots_is_checked(
    run: Run, filled: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may be on another disk than the data."""
    mount = tmp_path / "mount"
    mount.mkdir()
    monkeypatch.setenv("NSFW_SNAPSHOT_DIR", str(mount))
    usage = type("Usage", (), {})
    free = {tmp_path: 10**12, mount: 10**8}

    def disk_usage(path: Path) -> object:
        found = usage()
        found.free = free[path]
        return found

    monkeypatch.setattr(disk.shutil, "disk_usage", disk_usage)
    findings = json.loads(run("--json", code=1)[0])["findings"]
    (finding,) = [each for each in findings if each["check"] == disk.NAME]
    assert finding["severity"] == "fault"
    assert f"the disk of {mount}. Snapshots will fail." in finding["message"]


def test_too_little_space_for_a_backup_is_a_warning(
    filled: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backup needs as much as the database has, for the time it takes."""
    monkeypatch.setattr(disk, "LEAST_BYTES", 0)
    monkeypatch.setattr(disk, "LOW_BYTES", 0)
    size_bytes = (tmp_path / "review.db").stat().st_size
    usage = type("Usage", (), {"free": size_bytes})
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: usage)
    (finding,) = disk.check_disk(tmp_path / "review.db")
    assert "A backup needs" in finding.message


def test_a_clock_that_was_set_back_is_a_fault(filled: Store) -> None:
    """Decisions in the future; a minute is tolerated, and an empty store has none."""
    moment = datetime.now(UTC)
    assert list(clock.check_clock(filled, moment - timedelta(seconds=50))) == []
    (finding,) = clock.check_clock(filled, moment - timedelta(hours=2))
    assert "minutes ahead of this machine's clock" in finding.message


def test_an_empty_store_has_no_newest_decision(store: Store) -> None:
    """Any clock is right then."""
    assert list(clock.check_clock(store, datetime(2000, 1, 1, tzinfo=UTC))) == []


def test_the_newest_snapshot_is_verified(
    run: Run, filled: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None yet is a warning, a damaged one a fault."""
    mount = tmp_path / "mount"
    monkeypatch.setenv("NSFW_SNAPSHOT_DIR", str(mount))
    missing = json.loads(run("--json", code=2)[0])
    assert "cannot be used: No such file" in missing["unchecked"]["snapshots"]
    assert "database" in missing["checks"]
    mount.mkdir()
    (finding,) = found(run, code=0)
    assert "There is no snapshot" in finding["message"]
    SnapshotWriter(filled, SnapshotDirectory(mount), interval_s=1).stop()
    assert found(run, code=0) == []
    (path,) = (mount / "snapshots").iterdir()
    path.write_bytes(path.read_bytes()[:5_000])
    (finding,) = found(run, code=1)
    assert f"{path.name} cannot be restored" in finding["message"]


def test_what_cannot_be_checked_has_its_own_status(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No database, which is not created; a wrong setting; a database of a newer version."""
    assert "has no database" in run(code=2)[1]
    assert json.loads(run("--json", code=2)[0])["unchecked"].keys() == {"database"}
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("NSFW_PORT", "http")
    assert "NSFW_PORT" in run(code=2)[1]
    result = json.loads(run("--json", code=2)[0])
    assert (result["checks"], result["findings"]) == (["settings"], [])
    assert result["unchecked"]["settings"].startswith("NSFW_PORT='http'")


def test_a_check_that_fails_does_not_hide_the_others(
    run: Run, filled: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its reason is printed; the status is 2, or 1 with a fault."""

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(disk.shutil, "disk_usage", fail)
    assert "not checked, disk" in run(code=2)[1]
    filled.previews.remove(OTHER_SHA256)
    result = json.loads(run("--json", code=1)[0])
    assert result["unchecked"].keys() == {"disk"}
    assert len(result["findings"]) == 1
