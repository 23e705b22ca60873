"""Encrypted backups: the format of age, typed errors, nothing readable without the key."""

import io
import threading
from pathlib import Path

import pyrage
import pytest

from nsfw_app.backups import encryption
from nsfw_app.backups.archive import read_archive
from nsfw_app.backups.encryption import (
    decrypted_by,
    encrypted_for,
    encrypted_with,
    is_encrypted,
    secret_of,
)
from nsfw_app.errors import BackupError

CONTENT = bytes(range(256)) * 2_000


@pytest.fixture(scope="module")
def identity() -> pyrage.x25519.Identity:
    """A secret key."""
    return pyrage.x25519.Identity.generate()


def encrypted(identity: pyrage.x25519.Identity) -> bytes:
    """The content, encrypted for the key."""
    out = io.BytesIO()
    with encrypted_for([str(identity.to_public())], out) as target:
        for start in range(0, len(CONTENT), 10_000):
            target.write(CONTENT[start : start + 10_000])
    return out.getvalue()


def test_content_is_encrypted_for_recipients(identity: pyrage.x25519.Identity) -> None:
    """The library decrypts it, and so does the file of age-keygen with its comments."""
    data = encrypted(identity)
    assert pyrage.decrypt(data, [identity]) == CONTENT
    assert CONTENT[:256] not in data
    assert is_encrypted(io.BufferedReader(io.BytesIO(data)))
    text = f"# created: 2026\n# public key: {identity.to_public()}\n{identity}\n"
    with decrypted_by(text, io.BytesIO(data)) as content:
        assert content.read() == CONTENT


def test_each_recipient_can_decrypt() -> None:
    """Of several keys one is enough."""
    keys = [pyrage.x25519.Identity.generate() for _ in range(2)]
    out = io.BytesIO()
    with encrypted_for([str(key.to_public()) for key in keys], out) as target:
        target.write(CONTENT)
    for key in keys:
        assert pyrage.decrypt(out.getvalue(), [key]) == CONTENT


def test_another_key_is_refused(identity: pyrage.x25519.Identity) -> None:
    """The error is that of the decryption, not that of the empty content."""
    other = str(pyrage.x25519.Identity.generate())
    with (
        pytest.raises(BackupError, match="cannot be decrypted"),
        decrypted_by(other, io.BytesIO(encrypted(identity))) as content,
    ):
        list(read_archive(content))  # which ends at once


@pytest.mark.parametrize("place", [100, 70_000, -1])
def test_a_changed_byte_is_found(identity: pyrage.x25519.Identity, place: int) -> None:
    """In the header, in the content, at the end."""
    data = bytearray(encrypted(identity))
    data[place] ^= 1
    with (
        pytest.raises(BackupError, match="cannot be decrypted"),
        decrypted_by(str(identity), io.BytesIO(bytes(data))) as content,
    ):
        content.read()


def test_a_truncated_file_is_found(identity: pyrage.x25519.Identity) -> None:
    """Also at the border of two chunks of age."""
    data = encrypted(identity)
    for length in (len(data) - 1, len(data) - len(CONTENT) % 65_536 - 16, 300):
        with (
            pytest.raises(BackupError, match="cannot be decrypted"),
            decrypted_by(str(identity), io.BytesIO(data[:length])) as content,
        ):
            content.read()


@pytest.mark.parametrize("text", ["", "age1", "ssh-rsa AAAA", "AGE-SECRET-KEY-1X"])
def test_a_wrong_recipient_is_named(text: str) -> None:
    """Before anything is written."""
    out = io.BytesIO()
    with pytest.raises(BackupError, match="is not a recipient"), encrypted_for([text], out):
        pass
    assert out.getvalue() == b""


@pytest.mark.parametrize(
    ("text", "words"), [("# a comment only", "no secret key"), ("age1xyz", "not a secret key")]
)
def test_a_wrong_identity_is_named(text: str, words: str) -> None:
    """The secret itself is in no message."""
    with pytest.raises(BackupError, match=words), decrypted_by(text, io.BytesIO()):
        pass


def test_an_error_of_the_output_is_raised(identity: pyrage.x25519.Identity) -> None:
    """As of a full disk: it is not hidden by the pipe that breaks because of it."""

    class FullDisk(io.RawIOBase):
        def writable(self) -> bool:
            return True

        def write(self, data: object) -> int:
            raise OSError(28, "No space left on device")

    with (
        pytest.raises(BackupError, match="No space left"),
        encrypted_for([str(identity.to_public())], FullDisk()) as target,
    ):
        target.writelines([CONTENT] * 200)


def test_an_error_of_the_content_is_raised(identity: pyrage.x25519.Identity) -> None:
    """What reads or writes the content fails: no thread stays behind."""
    with pytest.raises(ZeroDivisionError), encrypted_for([str(identity.to_public())], io.BytesIO()):
        raise ZeroDivisionError
    with (
        pytest.raises(ZeroDivisionError),
        decrypted_by(str(identity), io.BytesIO(encrypted(identity))),
    ):
        raise ZeroDivisionError
    assert threading.active_count() < 20


def test_a_large_backup_needs_a_recipient(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a passphrase it is held in memory, so its size is limited."""
    monkeypatch.setattr(encryption, "MAX_PASSPHRASE_BYTES", 1_000_000)
    with pytest.raises(BackupError, match="1 MB at most"), encrypted_with("x", io.BytesIO()) as out:
        assert [out.write(CONTENT) for _ in range(3)] == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read"),
        (b"\n", "between 1"),
        (b"\xff", "UTF-8"),
        (b"x" * 100_001, "100000"),
    ],
)
def test_a_file_without_a_secret_is_named(
    content: bytes | None, words: str, tmp_path: Path
) -> None:
    """Missing, empty, not text, too long."""
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BackupError, match=words):
        secret_of(path, noun="passphrase")


def test_the_passphrase_is_the_line_of_its_file(tmp_path: Path) -> None:
    """The end of the line, which editors add, is no part of it; spaces are."""
    (tmp_path / "secret").write_bytes(b" two words \r\n")
    assert secret_of(tmp_path / "secret", noun="passphrase") == " two words "
