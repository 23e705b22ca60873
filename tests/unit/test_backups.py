"""Backups: consistent while the store is written to, verified before they are put in place."""

import io
import json
import os
import sqlite3
import stat
import tarfile
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from nsfw_app.backups import restore as restore_module
from nsfw_app.backups.backup import write_backup
from nsfw_app.backups.restore import restore, verify
from nsfw_app.errors import BackupDamaged, BackupError, StorageError, StorageErrorKind
from nsfw_app.private_files import staged_file
from nsfw_app.records import LogFilter
from nsfw_app.store import Store
from tests.support.backup_archives import (
    Members,
    backup_of,
    changed,
    database_of,
    manifest_of,
    members,
    names,
    with_database,
    written,
)
from tests.support.sample_records import SHA256, add, add_image, answer

OTHER_SHA256 = "b" * 64


@pytest.fixture
def filled(store: Store) -> Store:
    """A store with two images, their previews, and a decision."""
    add_image(store)
    add_image(store, sha256=OTHER_SHA256)
    add(store.log, answer("n"))
    return store


def opened(directory: Path) -> Store:
    """The store in a data directory."""
    return Store(directory / "review.db", previews_dir=directory / "images", journal_mode="wal")


def dump(database: Path) -> list[str]:
    """Schema and rows of a database."""
    with closing(sqlite3.connect(database)) as connection:
        return list(connection.iterdump())


def test_a_restored_backup_has_the_same_rows_and_previews(filled: Store, tmp_path: Path) -> None:
    """Decisions, images and previews are those of the store; files are private."""
    target = tmp_path / "new" / "data"
    restored = restore(io.BytesIO(backup_of(filled)), target)
    assert (restored.previews, restored.missing, restored.added_steps) == (2, (), ())
    assert dump(target / "review.db") == dump(tmp_path / "review.db")
    store = opened(target)
    assert list(store.log.rows(LogFilter())) == list(filled.log.rows(LogFilter()))
    assert store.previews.get(SHA256) == filled.previews.get(SHA256)
    assert store.consistency.check() == []
    for path in target.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    assert not list(target.glob("restore-*"))


def test_a_full_disk_is_not_that_of_the_data_directory(filled: Store) -> None:
    """The archive may be on another one, which the caller names."""
    with (
        Path("/dev/full").open("wb", buffering=0) as out,
        filled.copies.copied() as copy,
        pytest.raises(OSError, match="No space left on device"),
    ):
        write_backup(copy, filled.previews, out)


def test_a_backup_lists_what_it_contains(filled: Store) -> None:
    """Header first, manifest last, with the version, the schema, counts and every file."""
    archive = backup_of(filled)
    assert names(archive)[0] == "nsfw-review-backup.json"
    assert names(archive)[-1] == "manifest.json"
    manifest = manifest_of(archive)
    assert [file.name for file in manifest.files] == names(archive)[1:-1]
    assert (manifest.counts["images"], manifest.counts["decisions"]) == (2, 1)
    assert manifest.steps[0] == "create_review_tables"
    assert manifest.left_out == {}
    assert verify(io.BytesIO(archive)) == manifest


def test_the_key_of_secrets_is_part_of_a_backup(filled: Store, tmp_path: Path) -> None:
    """Without it webhook secrets could not be decrypted after a restore."""
    (tmp_path / "review.db.key").write_bytes(b"key")
    restore(io.BytesIO(backup_of(filled)), tmp_path / "new")
    assert (tmp_path / "new" / "review.db.key").read_bytes() == b"key"


def test_decisions_continue_during_a_backup(filled: Store, tmp_path: Path) -> None:
    """A copy has all rows up to one moment, also while others are written."""
    done = threading.Event()

    def decide() -> None:
        number = 0
        while not done.is_set():
            add(filled.log, answer(f"m{number}"), reviewer=f"reviewer {number}")
            number += 1

    writer = threading.Thread(target=decide)
    writer.start()
    try:
        archives = [backup_of(filled) for _ in range(5)]
    finally:
        done.set()
        writer.join()
    sizes = []
    for number, archive in enumerate(archives):
        restore(io.BytesIO(archive), tmp_path / str(number))
        store = opened(tmp_path / str(number))
        assert store.consistency.check() == []
        sizes.append(store.log.size(LogFilter()))
        assert sizes[-1] == manifest_of(archive).counts["decisions"]
    assert sizes == sorted(sizes)


def test_decisions_in_the_write_ahead_log_are_in_a_backup(filled: Store, tmp_path: Path) -> None:
    """A copy of review.db alone loses them, as the docs say."""
    with closing(sqlite3.connect(tmp_path / "review.db")) as holder:
        holder.execute("pragma wal_autocheckpoint = 0")
        add(filled.log, answer("late"), reviewer="late")
        alone = tmp_path / "alone.db"
        alone.write_bytes((tmp_path / "review.db").read_bytes())
        archive = backup_of(filled)
    with closing(sqlite3.connect(alone)) as connection:
        try:
            found = connection.execute("select count(*) from decisions").fetchone()[0]
        except sqlite3.OperationalError:  # even its tables are in the log only
            found = 0
    assert found < manifest_of(archive).counts["decisions"] == 2


def test_a_preview_that_is_purged_during_a_backup_is_listed(filled: Store, tmp_path: Path) -> None:
    """It is left out with the reason, and restoring says that it is missing."""
    filled.previews.remove(OTHER_SHA256)
    archive = backup_of(filled)
    assert "deleted while the backup was made" in manifest_of(archive).left_out[OTHER_SHA256]
    restored = restore(io.BytesIO(archive), tmp_path / "new")
    assert (restored.previews, restored.missing) == (1, (OTHER_SHA256,))


def test_no_copy_stays_behind(filled: Store, tmp_path: Path) -> None:
    """The temporary copy of the database is deleted, also after an error; old ones are, too."""
    (tmp_path / "review.db.copy-old").touch()
    os.utime(tmp_path / "review.db.copy-old", (0, 0))
    with filled.copies.copied() as copy:
        assert [path.name for path in tmp_path.glob("review.db.copy-*")] == [copy.path.name]
    with pytest.raises(ZeroDivisionError), filled.copies.copied():
        raise ZeroDivisionError
    assert not list(tmp_path.glob("review.db.copy-*"))


def test_a_directory_with_a_database_is_refused(filled: Store, tmp_path: Path) -> None:
    """That of a running server, and a leftover of its journal, stay as they are."""
    before = dump(tmp_path / "review.db")
    with pytest.raises(BackupError, match=r"in use: it has review\.db"):
        restore(io.BytesIO(backup_of(filled)), tmp_path)
    assert dump(tmp_path / "review.db") == before
    target = tmp_path / "new"
    target.mkdir()
    (target / "review.db-wal").touch()
    with pytest.raises(BackupError, match=r"review\.db-wal"):
        restore(io.BytesIO(backup_of(filled)), target)
    assert [path.name for path in target.iterdir()] == ["review.db-wal"]


def test_a_database_that_appears_during_a_restore_is_not_overwritten(
    filled: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a server starts in the directory."""
    target = tmp_path / "new"

    def appear(*_: object) -> None:
        (target / "review.db").write_bytes(b"of a server")

    monkeypatch.setattr(restore_module, "_put_key_in_place", appear)
    (tmp_path / "review.db.key").write_bytes(b"key")
    with pytest.raises(BackupError, match="in use"):
        restore(io.BytesIO(backup_of(filled)), target)
    assert (target / "review.db").read_bytes() == b"of a server"


def test_a_restore_that_was_killed_can_be_repeated(
    filled: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database comes last; what was moved before it and the leftovers are no obstacle."""
    archive = backup_of(filled)
    target = tmp_path / "new"
    (target / f"restore-{'0' * 32}").mkdir(parents=True)
    (target / "restore-notes").mkdir()

    class Killed(BaseException):
        """In place of a signal."""

    def kill(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Path, "hardlink_to", kill)
        with pytest.raises(Killed):
            restore(io.BytesIO(archive), target)
    assert not (target / "review.db").exists()
    assert restore(io.BytesIO(archive), target).previews == 2
    assert [path.name for path in target.glob("restore-*")] == ["restore-notes"]


def test_the_key_of_another_database_is_not_overwritten(filled: Store, tmp_path: Path) -> None:
    """Its secrets would be lost."""
    (tmp_path / "review.db.key").write_bytes(b"key")
    target = tmp_path / "new"
    target.mkdir()
    (target / "review.db.key").write_bytes(b"another")
    with pytest.raises(BackupError, match="key of another database"):
        restore(io.BytesIO(backup_of(filled)), target)
    assert (target / "review.db.key").read_bytes() == b"another"
    assert not (target / "review.db").exists()


def drop(name: str) -> Callable[[Members], None]:
    """Removes members by the end of their names."""

    def change(content: Members) -> None:
        content[:] = [each for each in content if not each[0].name.endswith(name)]

    return change


def alter(name: str) -> Callable[[Members], None]:
    """Flips a bit of the last byte of a member."""

    def change(content: Members) -> None:
        for number, (member, data) in enumerate(content):
            if member.name.endswith(name):
                content[number] = (member, data[:-1] + bytes([data[-1] ^ 1]))

    return change


def append(name: str, data: bytes = b"x", **values: Any) -> Callable[[Members], None]:
    """Adds a member before the manifest."""

    def change(content: Members) -> None:
        member = tarfile.TarInfo(name)
        for key, value in values.items():
            setattr(member, key, value)
        content.insert(-1, (member, data))

    return change


DAMAGED = {
    "no manifest": (drop("manifest.json"), "its end is missing"),
    "no database": (drop("review.db"), "differ from its manifest"),
    "no preview": (drop(".jpg"), "2 files differ"),
    "changed preview": (alter(".jpg"), "2 files differ"),
    "changed database": (alter("review.db"), "first review.db"),
    "changed manifest": (alter("manifest.json"), "manifest cannot be read"),
    "surplus preview": (append(f"images/cc/{'c' * 64}.jpg"), "1 files differ"),
    "twice": (append("review.db"), r"review\.db twice"),
    "parent directory": (append("../review.db"), "no backup has"),
    "absolute path": (append("/etc/passwd"), "no backup has"),
    "path within a name": (append(f"images/cc/../../{'c' * 60}.jpg"), "no backup has"),
    "another directory": (append(f"images/dd/{'c' * 64}.jpg"), "no backup has"),
    "link": (append("images", type=tarfile.SYMTYPE, linkname="/etc"), "not a file"),
    "hard link": (append("review.db.key", type=tarfile.LNKTYPE, linkname="/etc"), "not a file"),
    "device": (append("review.db.key", type=tarfile.CHRTYPE), "not a file"),
    "pipe": (append("review.db.key", type=tarfile.FIFOTYPE), "not a file"),
    "directory": (append("images", type=tarfile.DIRTYPE), "not a file"),
    "sparse": (append("review.db.key", type=tarfile.GNUTYPE_SPARSE), "not a file"),
    "large key": (append("review.db.key", bytes(2_000)), "the limit is 1000"),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_or_hostile_archive_is_refused(
    damage: str, filled: Store, tmp_path: Path
) -> None:
    """The sentence says what is wrong; nothing appears, inside the directory or outside."""
    change, words = DAMAGED[damage]
    archive = changed(backup_of(filled), change)
    target = tmp_path / "a" / "new"
    with pytest.raises(BackupDamaged, match=words):
        restore(io.BytesIO(archive), target)
    assert list(target.iterdir()) == []
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["new"]
    with pytest.raises(BackupDamaged, match=words):
        verify(io.BytesIO(archive))


def test_extended_headers_are_refused(filled: Store, tmp_path: Path) -> None:
    """A header of any size would be read into memory."""
    content = members(backup_of(filled))
    content[1][0].pax_headers = {"comment": "x"}
    archive = written(content, tar_format=tarfile.PAX_FORMAT)
    with pytest.raises(BackupDamaged, match="not a file"):
        restore(io.BytesIO(archive), tmp_path / "new")


def test_every_truncation_is_found(filled: Store, tmp_path: Path) -> None:
    """An archive that ends anywhere within its content is refused, with a typed error."""
    archive = backup_of(filled)
    end = archive.rindex(b"manifest.json") + 512
    for length in [0, 1, 511, 512, *range(600, end, max(1, end // 60)), end]:
        with pytest.raises(BackupError):
            verify(io.BytesIO(archive[:length]))


@pytest.mark.parametrize("content", [b"", b"hello", bytes(10_240), b"\x1f\x8b" + bytes(600)])
def test_another_file_is_no_backup(content: bytes, tmp_path: Path) -> None:
    """An empty file, a text, zeros and other archives are named as such."""
    with pytest.raises(BackupError, match="is not a backup of NSFW Review"):
        restore(io.BytesIO(content), tmp_path / "new")


def test_another_tar_is_no_backup(tmp_path: Path) -> None:
    """Even with a file of that name."""
    infinite = b'{"format": Infinity, "version": "1"}'
    for content in (b"[]", b"{}", b"\xff", infinite, b"[" * 9_000):
        member = tarfile.TarInfo("nsfw-review-backup.json")
        with pytest.raises(BackupError, match="is not a backup of NSFW Review"):
            restore(io.BytesIO(written([(member, content)])), tmp_path / "new")


@pytest.mark.parametrize(
    "values",
    [
        {"counts": {"images": float("inf")}},
        {"files": [{"name": 1, "size_bytes": 1, "sha256": "a"}]},
        {"files": [{"name": "a", "size_bytes": [], "sha256": "a"}]},
        {"files": [{"name": "a", "size_bytes": float("inf"), "sha256": "a"}]},
        {"files": [{}]},
        {"left_out": []},
    ],
)
def test_a_malformed_manifest_is_refused(
    values: dict[str, object], filled: Store, tmp_path: Path
) -> None:
    """Values of other types are a sentence, too."""

    def malformed(content: Members) -> None:
        member, data = content[-1]
        content[-1] = member, json.dumps({**json.loads(data), **values}).encode()

    with pytest.raises(BackupDamaged):
        restore(io.BytesIO(changed(backup_of(filled), malformed)), tmp_path / "new")


def test_a_later_format_is_refused(filled: Store, tmp_path: Path) -> None:
    """The sentence names the version to install."""

    def later(content: Members) -> None:
        header = {"format": 2, "version": "9.1.0", "created_at": ""}
        content[0] = (content[0][0], json.dumps(header).encode())

    with pytest.raises(BackupError, match=r"Install version 9\.1\.0"):
        restore(io.BytesIO(changed(backup_of(filled), later)), tmp_path / "new")


def altered_database(archive: bytes, tmp_path: Path, *statements: str) -> bytes:
    """The database of an archive after statements."""
    path = tmp_path / "altered.db"
    path.write_bytes(database_of(archive))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)
    return path.read_bytes()


def test_a_backup_of_a_newer_version_is_refused(filled: Store, tmp_path: Path) -> None:
    """The sentence names that version and the migration; nothing is put in place."""
    archive = backup_of(filled)
    step = "insert into _sqlite_migrations (migration_set, name, applied_at) values (?, ?, '')"
    path = tmp_path / "altered.db"
    path.write_bytes(database_of(archive))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(step, ("nsfw_review", "paint_it_blue"))
    newer = with_database(archive, path.read_bytes(), version="9.1.0")
    with pytest.raises(BackupError, match=r"paint_it_blue.*Install version 9\.1\.0"):
        restore(io.BytesIO(newer), tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []


def test_a_database_with_other_rows_than_counted_is_refused(filled: Store, tmp_path: Path) -> None:
    """A database that was exchanged together with its checksum has other counts."""
    archive = backup_of(filled)
    database = altered_database(
        archive,
        tmp_path,
        "delete from audit where false",
        "insert into audit (at, actor, action, subject, details) values ('', '', '', '', '{}')",
    )
    with pytest.raises(BackupDamaged, match="other rows"):
        restore(io.BytesIO(with_database(archive, database)), tmp_path / "new")


def test_a_database_with_code_of_others_is_refused(filled: Store, tmp_path: Path) -> None:
    """A trigger that this program does not have would run with each decision."""
    archive = backup_of(filled)
    trigger = "create trigger hostile after insert on decisions begin select 1; end"
    database = altered_database(archive, tmp_path, trigger)
    with pytest.raises(BackupDamaged, match="hostile"):
        restore(io.BytesIO(with_database(archive, database)), tmp_path / "new")


ENDLESS = "with recursive n(x) as (select 1 union all select x + 1 from n)"


@pytest.mark.parametrize(
    "statements",
    [
        (
            "insert into hub_writer values ('a', 'b', 'c', 1, 'd', 0, 0)",
            "create trigger hostile after delete on hub_writer begin "
            f"insert into hub_obsolete {ENDLESS} select x from n; end",
        ),
        (
            "alter table images rename to others",
            f"create view images as {ENDLESS} select '' as sha256, x'01' as placeholder from n",
        ),
    ],
    ids=["trigger", "view"],
)
def test_code_of_others_does_not_run_during_a_restore(
    statements: tuple[str, ...], filled: Store, tmp_path: Path
) -> None:
    """It would fill the disk, or not end, before the schema is compared."""
    archive = backup_of(filled)
    database = altered_database(archive, tmp_path, *statements)
    with pytest.raises(BackupDamaged, match=r"hostile|cannot be read|damaged"):
        restore(io.BytesIO(with_database(archive, database)), tmp_path / "new")


def test_a_database_with_damaged_pages_is_refused(filled: Store, tmp_path: Path) -> None:
    """Also where the checksum is that of the damaged file."""
    archive = backup_of(filled)
    database = bytearray(database_of(archive))
    database[4_096 * 3 : 4_096 * 30] = b"\xa5" * (4_096 * 27)
    with pytest.raises(BackupDamaged, match=r"damaged|cannot be read"):
        restore(io.BytesIO(with_database(archive, bytes(database))), tmp_path / "new")


def test_references_to_missing_rows_are_damage(filled: Store, tmp_path: Path) -> None:
    """SQLite's own check does not look at them."""
    archive = backup_of(filled)
    database = altered_database(
        archive, tmp_path, "delete from images where sha256 = 'b' || substr(sha256, 2)"
    )
    with pytest.raises(BackupDamaged, match="missing row of images"):
        restore(io.BytesIO(with_database(archive, database)), tmp_path / "new")


def test_too_little_space_is_found_before_writing(
    filled: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sentence has the sizes; an archive cannot fill the disk."""
    archive = backup_of(filled)
    monkeypatch.setattr(
        restore_module.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 5_000})
    )
    with pytest.raises(BackupError, match="5000 are free"):
        restore(io.BytesIO(archive), tmp_path / "new")


def test_a_file_appears_complete_or_not_at_all(tmp_path: Path) -> None:
    """After an error an older file stays as it was, and no partial one remains."""
    path = tmp_path / "backup.tar"
    path.write_bytes(b"older")
    with pytest.raises(TypeError), staged_file(path) as out:
        out.writelines([b"newer", None])  # type: ignore[list-item]
    assert [each.name for each in tmp_path.iterdir()] == ["backup.tar"]
    assert path.read_bytes() == b"older"
    with staged_file(path) as out:
        out.write(b"newer")
    assert path.read_bytes() == b"newer"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_directory_that_cannot_be_written_is_a_storage_error(
    filled: Store, tmp_path: Path
) -> None:
    """As where a file is in the place of the directory."""
    (tmp_path / "file").touch()
    with pytest.raises(StorageError) as caught:
        restore(io.BytesIO(backup_of(filled)), tmp_path / "file" / "data")
    assert caught.value.reason is StorageErrorKind.MISSING
