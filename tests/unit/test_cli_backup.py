"""Commands `backup` and `restore`, as operators use them."""

import io
import sys
from collections.abc import Callable
from pathlib import Path

import pyrage
import pytest

from nsfw_app import bootstrap
from nsfw_app.backups.archive import ArchiveWriter
from nsfw_app.cli import main
from nsfw_app.records import LogFilter
from nsfw_app.rules.permissions import Permission, UserRole
from nsfw_app.store import Store
from nsfw_app.store.audit import AuditAction
from nsfw_app.store.keys import Webhook
from nsfw_app.store.sessions import Session
from tests.support.disks import no_space, small_disk
from tests.support.sample_records import SHA256, add, add_image, answer

Run = Callable[..., str]


class Input(io.StringIO):
    """Standard input with bytes."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.buffer = io.BufferedReader(io.BytesIO(data))


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs a command on the test's store; returns both outputs."""
    monkeypatch.setenv("NSFW_DATA_DIR", str(tmp_path))

    def run(*arguments: str, code: int = 0, typed: bytes = b"") -> str:
        monkeypatch.setattr(sys, "argv", ["nsfw_app", *arguments])
        monkeypatch.setattr(sys, "stdin", Input(typed))
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        assert (ended.value.code or 0) == code, captured.err
        return captured.out + captured.err

    return run


@pytest.fixture
def filled(store: Store) -> Store:
    """A store with an image and a decision."""
    add_image(store)
    add(store.log, answer("n"))
    return store


def opened(directory: Path) -> Store:
    """The store in a data directory."""
    return Store(directory / "review.db", previews_dir=directory / "images", journal_mode="wal")


def test_a_backup_is_restored_elsewhere(run: Run, filled: Store, tmp_path: Path) -> None:
    """Both commands say how much; decisions and previews are there."""
    file, target = tmp_path / "backup.tar", tmp_path / "new"
    said = run("backup", str(file))
    assert said == "Backup of 1 images, 1 decisions and 1 previews. Not encrypted.\n"
    said = run("restore", str(file), "--data-dir", str(target))
    assert "Restored 1 images, 1 decisions and 1 previews of 20" in said
    assert f"into {target}.\nAll users must sign in again.\n" in said
    store = opened(target)
    assert store.log.size(LogFilter()) == 1
    assert store.previews.has(SHA256)


@pytest.mark.parametrize("is_encrypted", [False, True])
def test_a_full_disk_is_that_of_the_file(
    is_encrypted: bool,
    run: Run,
    filled: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The message has the file and the reason, and says nothing about the data directory."""
    key = str(pyrage.x25519.Identity.generate().to_public())
    options = ["--recipient", key] if is_encrypted else []
    with small_disk(tmp_path / "disk") as disk:
        if disk.is_mounted:
            disk.fill(free_bytes=50_000)  # less than the database
        else:
            monkeypatch.setattr(ArchiveWriter, "add_file", no_space)
        file = disk.path / "b.tar"
        said = run("backup", str(file), *options, code=1)
        assert {path.name for path in disk.path.iterdir()} <= {"ballast"}
    assert "cannot be written: " in said
    assert "No space left on device" in said
    assert is_encrypted or said == f"Error: {file} cannot be written: No space left on device.\n"
    assert filled.log.size(LogFilter()) == 1


def test_backups_are_audited(run: Run, filled: Store, tmp_path: Path) -> None:
    """The audit has the file's name and whether it is encrypted; the restored one, its origin."""
    run("backup", str(tmp_path / "b.tar"))
    run("restore", str(tmp_path / "b.tar"), "--data-dir", str(tmp_path / "new"))
    last = list(filled.audit.entries())[-1]
    assert (last.action, last.subject) == (AuditAction.BACKUP, "b.tar")
    assert last.details == {"encrypted": False}
    last = list(opened(tmp_path / "new").audit.entries())[-1]
    assert (last.action, last.subject) == (AuditAction.RESTORE, "b.tar")
    assert set(last.details) == {"version", "created_at"}


def test_sessions_end_with_a_restore(run: Run, store: Store, tmp_path: Path) -> None:
    """One that was ended since the backup would be valid again."""
    store.users.add_user("ann", "hash", UserRole.ADMIN, actor="test")
    store.sessions.add("token", Session("user:ann", "ann", ()), expires_at="9999")
    run("backup", str(tmp_path / "b.tar"))
    run("restore", str(tmp_path / "b.tar"), "--data-dir", str(tmp_path / "new"))
    restored = opened(tmp_path / "new")
    assert [user.name for user in restored.users.all()] == ["ann"]
    assert restored.sessions.end_of_everyone(actor="test") == 0
    assert store.sessions.end_of_everyone(actor="test") == 1


def test_a_restore_can_stop_webhooks(run: Run, filled: Store, tmp_path: Path) -> None:
    """A second server with the same data sends no messages then; without the option it does."""
    filled.keys.add(
        "uploads", "hash", [Permission.QUEUE], per_minute=9, expires_at=None, actor="test",
        webhook=Webhook("https://example.com/hook", "whsec_AAAA"),
    )  # fmt: skip
    run("backup", str(tmp_path / "b.tar"))
    restore = ["restore", str(tmp_path / "b.tar"), "--data-dir"]
    run(*restore, str(tmp_path / "new"))
    (key,) = opened(tmp_path / "new").keys.all()
    assert key.webhook_gone_at is None
    assert "1 webhooks are stopped" in run(*restore, str(tmp_path / "drill"), "--stop-webhooks")
    (key,) = opened(tmp_path / "drill").keys.all()
    assert key.webhook_gone_at is not None


def test_a_backup_is_encrypted_for_a_key(run: Run, filled: Store, tmp_path: Path) -> None:
    """Without the key, and with another one, nothing is restored."""
    key, file, target = pyrage.x25519.Identity.generate(), tmp_path / "b.age", tmp_path / "new"
    (tmp_path / "key").write_text(f"# a comment\n{key}\n")
    (tmp_path / "other").write_text(str(pyrage.x25519.Identity.generate()))
    assert "Encrypted." in run("backup", str(file), "--recipient", str(key.to_public()))
    assert b"review.db" not in file.read_bytes()
    restore = ["restore", str(file), "--data-dir", str(target)]
    assert "--identity-file" in run(*restore, code=1)
    other = run(*restore, "--identity-file", str(tmp_path / "other"), code=1)
    assert "cannot be decrypted" in other
    passphrase = run(*restore, "--passphrase-file", str(tmp_path / "other"), code=1)
    assert "cannot be decrypted" in passphrase
    assert not (target / "review.db").exists()
    run(*restore, "--identity-file", str(tmp_path / "key"))
    assert opened(target).log.size(LogFilter()) == 1


def test_a_backup_is_encrypted_with_a_passphrase(run: Run, filled: Store, tmp_path: Path) -> None:
    """It is read from a file, because other users of the machine can read arguments."""
    (tmp_path / "secret").write_text("correct horse battery staple\n")
    secret = ["--passphrase-file", str(tmp_path / "secret")]
    run("backup", str(tmp_path / "b.age"), *secret)
    restore = ["restore", str(tmp_path / "b.age"), "--data-dir", str(tmp_path / "new")]
    run(*restore, *secret)
    assert opened(tmp_path / "new").log.size(LogFilter()) == 1


def test_a_backup_that_should_be_encrypted_is_refused(
    run: Run, filled: Store, tmp_path: Path
) -> None:
    """Where a key is named, a file that is not encrypted may have replaced the right one."""
    (tmp_path / "secret").write_text("correct horse battery staple\n")
    run("backup", str(tmp_path / "b"))
    restore = ["restore", str(tmp_path / "b"), "--data-dir", str(tmp_path / "new")]
    refused = run(*restore, "--passphrase-file", str(tmp_path / "secret"), code=1)
    assert "is not encrypted" in refused
    assert not (tmp_path / "new" / "review.db").exists()


def test_key_and_passphrase_exclude_each_other(run: Run, filled: Store, tmp_path: Path) -> None:
    """A backup has one kind of protection."""
    key = str(pyrage.x25519.Identity.generate().to_public())
    options = ["--recipient", key, "--passphrase-file", "secret"]
    assert "exclude each other" in run("backup", str(tmp_path / "b"), *options, code=2)


def test_a_backup_can_be_piped(
    filled: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`-` is standard output and standard input, such as of ssh."""
    out = tmp_path / "piped"
    with out.open("wb") as file:
        monkeypatch.setenv("NSFW_DATA_DIR", str(tmp_path))
        stdout = io.TextIOWrapper(file)  # kept, as Python does: else its file is closed
        monkeypatch.setattr(sys, "stdout", stdout)
        monkeypatch.setattr(sys, "argv", ["nsfw_app", "backup", "-"])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
        monkeypatch.undo()
    monkeypatch.setattr(sys, "argv", ["nsfw_app", "restore", "-", "--data-dir", f"{tmp_path}/new"])
    monkeypatch.setattr(sys, "stdin", Input(out.read_bytes()))
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    assert opened(tmp_path / "new").log.size(LogFilter()) == 1


def test_no_backup_is_overwritten(run: Run, filled: Store, tmp_path: Path) -> None:
    """An older one may be the only good one."""
    (tmp_path / "b.tar").write_text("older")
    assert "exists already" in run("backup", str(tmp_path / "b.tar"), code=1)
    assert (tmp_path / "b.tar").read_text() == "older"


def test_a_directory_without_a_database_is_not_backed_up(run: Run, tmp_path: Path) -> None:
    """No empty database is created, as a mistyped NSFW_DATA_DIR would."""
    assert "has no database" in run("backup", str(tmp_path / "b.tar"), code=1)
    assert list(tmp_path.iterdir()) == []


def test_an_emptied_database_is_not_backed_up(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty backup would replace good ones after a while."""
    monkeypatch.setattr(bootstrap, "CREATION_WAIT_S", 0)
    (tmp_path / "review.db").touch()
    assert "review.db is empty (0 bytes)" in run("backup", str(tmp_path / "b.tar"), code=1)
    assert not (tmp_path / "b.tar").exists()
    assert (tmp_path / "review.db").stat().st_size == 0


@pytest.mark.parametrize(
    ("file", "words", "code"),
    [("missing/b.tar", "missing is not a directory", 2), ("https://x/b", "URL", 2)],
)
def test_a_backup_that_cannot_be_written_is_a_sentence(
    file: str, words: str, code: int, run: Run, filled: Store, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Before the work, not after it."""
    monkeypatch.chdir(tmp_path)
    assert words in run("backup", file, code=code)


def test_a_file_that_cannot_be_read_is_a_sentence(run: Run, tmp_path: Path) -> None:
    """Missing, and a directory."""
    target = ["--data-dir", str(tmp_path / "new")]
    assert "cannot be read: No such file" in run("restore", str(tmp_path / "no"), *target, code=1)
    assert "cannot be read: Is a directory" in run("restore", str(tmp_path), *target, code=1)


def test_a_directory_in_use_is_refused(run: Run, filled: Store, tmp_path: Path) -> None:
    """Without --data-dir the data directory of the settings is meant."""
    run("backup", str(tmp_path / "b.tar"))
    assert "is in use" in run("restore", str(tmp_path / "b.tar"), code=1)


def test_missing_previews_are_counted(run: Run, filled: Store, tmp_path: Path) -> None:
    """Both commands say that the backup has not all of them."""
    filled.previews.remove(SHA256)
    assert "1 previews are left out" in run("backup", str(tmp_path / "b.tar"))
    said = run("restore", str(tmp_path / "b.tar"), "--data-dir", str(tmp_path / "new"))
    assert "1 previews are missing" in said
