"""Snapshots: what a machine without a disk of its own is restored from."""

import logging
import sqlite3
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nsfw_app import server, settings
from nsfw_app.backups.restore import verify
from nsfw_app.backups.snapshot_directory import KEPT, SnapshotDirectory
from nsfw_app.backups.snapshots import SnapshotWriter
from nsfw_app.bootstrap import open_snapshots, open_store
from nsfw_app.errors import BackupError, SettingsError
from nsfw_app.records import LogFilter
from nsfw_app.rules.permissions import UserRole
from nsfw_app.store import Store
from nsfw_app.store.sessions import Session
from tests.support.disks import small_disk
from tests.support.sample_records import SHA256, add, add_image, answer

OTHER_SHA256 = "b" * 64


class Clock:
    """A clock that each look moves on by a second."""

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        """The next second."""
        self.time += timedelta(seconds=1)
        return self.time


@pytest.fixture
def mount(tmp_path: Path) -> Path:
    """The mounted storage."""
    path = tmp_path / "mount"
    path.mkdir()
    return path


@pytest.fixture
def clock() -> Clock:
    """The clock of all snapshots of a test."""
    return Clock()


@pytest.fixture
def filled(store: Store) -> Store:
    """A store with an image and a decision."""
    add_image(store)
    add(store.log, answer("n"))
    return store


def opened(directory: Path, *, journal_mode: str = "wal") -> Store:
    """The store in a data directory."""
    return Store(
        directory / "review.db", previews_dir=directory / "images", journal_mode=journal_mode
    )


def writer_of(store: Store, mount: Path, clock: Clock) -> SnapshotWriter:
    """A writer whose thread is not started."""
    return SnapshotWriter(
        store, SnapshotDirectory(mount, clock=clock), interval_s=3_600, clock=clock
    )


def archives(mount: Path) -> list[Path]:
    """The snapshots, the newest first."""
    return sorted((mount / "snapshots").iterdir(), reverse=True)


def restored(mount: Path, target: Path) -> Store | None:
    """The store of a new machine."""
    found = SnapshotDirectory(mount).restore_newest(target)
    return opened(target) if found else None


def test_an_empty_machine_gets_everything_back(
    filled: Store, mount: Path, tmp_path: Path, clock: Clock
) -> None:
    """Decisions, previews, the queue and the key of secrets are as before."""
    (tmp_path / "review.db.key").write_bytes(b"key")
    writer_of(filled, mount, clock).write_if_changed()
    store = restored(mount, tmp_path / "new")
    assert store is not None
    assert list(store.log.rows(LogFilter())) == list(filled.log.rows(LogFilter()))
    assert store.previews.get(SHA256) == filled.previews.get(SHA256)
    assert (tmp_path / "new" / "review.db.key").read_bytes() == b"key"
    assert store.consistency.check() == []


def test_sessions_end_with_a_restored_snapshot(
    store: Store, mount: Path, tmp_path: Path, clock: Clock
) -> None:
    """One that was ended after the snapshot would be valid again; the audit has their number."""
    store.users.add_user("ann", "hash", UserRole.ADMIN, actor="test")
    store.sessions.add("token", Session("user:ann", "ann", ()), expires_at="9999")
    writer_of(store, mount, clock).write_if_changed()
    new = restored(mount, tmp_path / "new")
    assert new is not None
    assert store.sessions.find("token") is not None
    assert new.sessions.find("token") is None
    assert [user.name for user in new.users.all()] == ["ann"]
    last = list(new.audit.entries())[-1]
    assert (last.actor, last.subject, last.details) == ("restore", "all", {"sessions_ended": 1})


def test_no_database_is_open_on_the_mount(filled: Store, mount: Path, clock: Clock) -> None:
    """Only complete archives and previews are there."""
    writer_of(filled, mount, clock).write_if_changed()
    files = [path.relative_to(mount) for path in mount.rglob("*") if path.is_file()]
    assert sorted(path.parts[0] for path in files) == ["images", "snapshots"]
    assert all(path.suffix in {".jpg", ".tar"} for path in files)


def test_nothing_is_written_while_nothing_changes(filled: Store, mount: Path, clock: Clock) -> None:
    """A commit of another thread is a change."""
    writer = writer_of(filled, mount, clock)
    writer.write_if_changed()
    writer.write_if_changed()
    assert len(archives(mount)) == 1
    other = threading.Thread(target=lambda: add(filled.log, answer("m"), reviewer="bob"))
    other.start()
    other.join()
    writer.write_if_changed()
    assert len(archives(mount)) == 2


def test_the_newest_snapshots_are_kept(filled: Store, mount: Path, clock: Clock) -> None:
    """Older ones are deleted; those of an earlier server count as well."""
    for _ in range(2):
        writer = writer_of(filled, mount, clock)
        for _ in range(KEPT):
            writer.stop()
    assert len(archives(mount)) == KEPT
    with archives(mount)[0].open("rb") as newest:
        assert verify(newest).created_at


def test_purged_previews_leave_the_mount(
    filled: Store, mount: Path, tmp_path: Path, clock: Clock
) -> None:
    """Retention holds for the copies, too; the others are copied once."""
    add_image(filled, sha256=OTHER_SHA256)
    writer_of(filled, mount, clock).stop()
    kept = mount / "images" / "bb" / f"{OTHER_SHA256}.jpg"
    before = kept.stat().st_mtime_ns
    filled.purges.purge(SHA256, actor="test")
    writer_of(filled, mount, clock).stop()
    assert [path.stem for path in mount.glob("images/??/*")] == [OTHER_SHA256]
    assert kept.stat().st_mtime_ns == before
    store = restored(mount, tmp_path / "new")
    assert store is not None
    assert list(store.previews.all()) == [OTHER_SHA256]


def test_a_damaged_snapshot_is_skipped(
    filled: Store, mount: Path, tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """The one before it is restored, and the log says so."""
    writer = writer_of(filled, mount, clock)
    writer.stop()
    add(filled.log, answer("m"), reviewer="bob")
    writer.stop()
    newest = archives(mount)[0]
    newest.write_bytes(newest.read_bytes()[:5_000])
    store = restored(mount, tmp_path / "new")
    assert store is not None
    assert store.log.size(LogFilter()) == 1
    assert f"Snapshot {newest.name} cannot be restored: The backup is truncated" in caplog.text


def test_damaged_snapshots_stop_the_start(
    filled: Store, mount: Path, tmp_path: Path, clock: Clock
) -> None:
    """An empty database would have no users, and would replace the snapshots."""
    writer_of(filled, mount, clock).stop()
    archives(mount)[0].write_bytes(b"damaged")
    with pytest.raises(BackupError, match="None of the 1 snapshots"):
        SnapshotDirectory(mount).restore_newest(tmp_path / "new")


def test_an_empty_mount_restores_nothing(mount: Path, tmp_path: Path) -> None:
    """The first start begins with an empty database."""
    assert SnapshotDirectory(mount).restore_newest(tmp_path / "new") is None
    assert not (tmp_path / "new" / "review.db").exists()


def test_a_database_on_the_mount_becomes_a_snapshot(
    mount: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Earlier versions kept it there. It is renamed; its previews become those of snapshots."""
    old = opened(mount, journal_mode="delete")
    add_image(old)
    add(old.log, answer("n"))
    (mount / "review.db.key").write_bytes(b"key")
    (mount / "uploads" / "7860").mkdir(parents=True)
    store = restored(mount, tmp_path / "new")
    assert store is not None
    assert store.log.size(LogFilter()) == 1
    assert store.previews.has(SHA256)
    assert (tmp_path / "new" / "review.db.key").read_bytes() == b"key"
    assert sorted(path.name for path in mount.iterdir()) == [
        "images", "review.db.before-snapshots", "review.db.key.before-snapshots", "snapshots",
    ]  # fmt: skip
    assert "becomes the first snapshot" in caplog.text
    again = restored(mount, tmp_path / "again")
    assert again is not None
    assert again.log.size(LogFilter()) == 1


def test_an_adoption_that_was_killed_continues(mount: Path, tmp_path: Path) -> None:
    """The file was renamed, and there is no snapshot yet."""
    old = opened(mount, journal_mode="delete")
    add_image(old)
    (mount / "review.db").rename(mount / "review.db.before-snapshots")
    store = restored(mount, tmp_path / "new")
    assert store is not None
    assert store.previews.has(SHA256)


def test_a_transaction_that_was_killed_on_the_mount_is_rolled_back(
    mount: Path, tmp_path: Path
) -> None:
    """Its journal belongs to the database, which is not renamed without it."""
    opened(mount, journal_mode="delete").audit.add("ann", "user", "x")  # type: ignore[arg-type]
    database = mount / "review.db"
    with closing(sqlite3.connect(database, isolation_level=None)) as killed:
        killed.execute("pragma cache_size = 1")
        killed.execute("begin immediate")
        killed.execute("pragma cache_spill = 1")
        insert = "insert into audit (at, actor, action, subject, details) values (?, '', '', '', ?)"
        for number in range(400):
            killed.execute(insert, (str(number), "x" * 2_000))
        journal = (mount / "review.db-journal").read_bytes()
        content = database.read_bytes()
        killed.execute("rollback")
    database.write_bytes(content)
    (mount / "review.db-journal").write_bytes(journal)
    store = restored(mount, tmp_path / "new")
    assert store is not None
    assert len(list(store.audit.entries())) == 1
    assert not (mount / "review.db-journal").exists()


def test_a_database_next_to_snapshots_is_not_ignored(
    filled: Store, mount: Path, tmp_path: Path, clock: Clock
) -> None:
    """An earlier version may have run again: which of the two is wanted, an operator decides."""
    writer_of(filled, mount, clock).stop()
    opened(mount, journal_mode="delete")
    with pytest.raises(BackupError, match="Move away what is not wanted"):
        SnapshotDirectory(mount).restore_newest(tmp_path / "new")


def test_another_server_on_the_directory_is_reported(
    filled: Store, mount: Path, clock: Clock
) -> None:
    """Its snapshots are not deleted, and the status names one."""
    first, second = (writer_of(filled, mount, clock) for _ in range(2))
    second.stop()
    for _ in range(KEPT + 1):
        first.stop()
    assert first.status().error is not None
    assert "another one wrote" in first.status().error
    for _ in range(KEPT + 1):
        first.stop()
    assert len(archives(mount)) == KEPT + 1
    assert set(SnapshotDirectory(mount).archives()) == set(archives(mount))
    second.stop()
    assert len(archives(mount)) == KEPT + 2


def test_a_snapshot_is_the_newest_where_the_clock_is_behind(
    filled: Store, mount: Path, clock: Clock, tmp_path: Path
) -> None:
    """A machine whose clock was set back does not delete what it has just written."""
    for _ in range(KEPT):
        writer_of(filled, mount, clock).stop()
    before = archives(mount)
    clock.time -= timedelta(days=400)
    add(filled.log, answer("later"))
    writer_of(filled, mount, clock).stop()
    assert archives(mount)[1:] == before[:-1]
    again = restored(mount, tmp_path / "new")
    assert again is not None
    assert again.log.size(LogFilter()) == 2


def test_a_failed_snapshot_is_in_the_status(
    filled: Store, tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """The last success stays; earlier snapshots do, too; the next success clears the error."""
    with small_disk(tmp_path / "disk") as disk:
        writer = writer_of(filled, disk.path, clock)
        writer.write_if_changed()
        assert writer.status().error is None
        success = writer.status().last_success_at
        assert success is not None
        disk.fill()
        writer.stop()
        assert writer.status().error is not None
        assert str(disk.path) in writer.status().error
        assert writer.status().last_success_at == success
        assert "The snapshot failed" in caplog.text
        disk.clear()
        assert len(archives(disk.path)) == 1
        writer.stop()
        assert writer.status().error is None
        assert writer.status().last_success_at > success


def test_snapshots_are_written_in_a_thread(filled: Store, mount: Path, clock: Clock) -> None:
    """The first at the start, the last when the server stops."""
    written = threading.Event()

    class Watched(SnapshotDirectory):
        def write(self, *arguments: object) -> Path:
            path = super().write(*arguments)  # type: ignore[arg-type]
            written.set()
            return path

    writer = SnapshotWriter(filled, Watched(mount, clock=clock), interval_s=3_600)
    writer.start()
    assert written.wait(60)
    writer.stop()
    assert len(archives(mount)) == 2
    assert writer.status().target == str(mount)
    assert writer.status().pending == 0


@pytest.fixture
def configured(tmp_path: Path, mount: Path, monkeypatch: pytest.MonkeyPatch) -> settings.Settings:
    """Settings of a server with snapshots."""
    monkeypatch.setenv("NSFW_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("NSFW_SNAPSHOT_DIR", str(mount))
    return settings.load()


def test_a_missing_directory_is_named(configured: settings.Settings, mount: Path) -> None:
    """A mount that is not there stops the start: without it the database would begin empty."""
    mount.rmdir()
    with pytest.raises(SettingsError, match=r"NSFW_SNAPSHOT_DIR='.*mount' cannot be used: No such"):
        open_snapshots(configured)


def test_a_server_with_a_database_restores_nothing(
    configured: settings.Settings, filled: Store, mount: Path, clock: Clock
) -> None:
    """Its data are newer than any snapshot."""
    writer_of(filled, mount, clock).stop()
    assert server.restore_snapshot(configured, open_snapshots(configured)) is None
    assert server.restore_snapshot(configured, None) is None


def test_a_server_without_a_database_is_restored(
    configured: settings.Settings, filled: Store, mount: Path, clock: Clock, tmp_path: Path,
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """The start prints from when the data are."""
    caplog.set_level(logging.WARNING)
    writer_of(filled, mount, clock).stop()
    new = settings.load(data_dir=tmp_path / "new")
    snapshots = open_snapshots(new)
    assert snapshots is not None
    found = server.restore_snapshot(new, snapshots)
    server.print_snapshots(snapshots, found)
    assert "Restored 1 decisions and 1 previews of 20" in capsys.readouterr().out
    assert opened(tmp_path / "new").log.size(LogFilter()) == 1
    assert caplog.records == []


@pytest.mark.parametrize("database", ["snapshots", "review.db"])
def test_no_command_creates_a_database_that_is_restored_at_the_start(
    database: str, configured: settings.Settings, mount: Path, clock: Clock, tmp_path: Path
) -> None:
    """The start would not restore anything then, and new snapshots would replace the earlier."""
    new = settings.load(data_dir=tmp_path / "new")
    if database == "snapshots":
        writer_of(opened(tmp_path / "first"), mount, clock).stop()
    else:
        opened(mount, journal_mode="delete")
    with pytest.raises(SettingsError, match=r"restores it from NSFW_SNAPSHOT_DIR=.* Start the"):
        open_store(new)
    assert not (tmp_path / "new").exists()
    assert server.restore_snapshot(new, open_snapshots(new)) is not None
    open_store(new)


def test_commands_create_a_database_where_there_is_no_snapshot(
    configured: settings.Settings, tmp_path: Path
) -> None:
    """As before the first start, when users are added."""
    open_store(settings.load(data_dir=tmp_path / "new"))
    assert (tmp_path / "new" / "review.db").exists()


def test_no_command_creates_a_database_that_is_restored_from_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is saved there would not be restored any more."""
    monkeypatch.setenv("NSFW_DATA_DIR", str(tmp_path / "new"))
    monkeypatch.setenv("NSFW_HUB_DATASET", "org/decisions")
    monkeypatch.setenv("HF_TOKEN", "hf_a")
    new = settings.load()
    with pytest.raises(SettingsError, match="restores it from NSFW_HUB_DATASET='org/decisions'"):
        open_store(new)
    assert not (tmp_path / "new").exists()
    open_store(new, database=new.database)
    open_store(new)
