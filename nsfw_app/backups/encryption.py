"""Encryption of backups in the format of age (https://age-encryption.org).

`age --decrypt` reads what is written here, and what `age` encrypted is restored. A backup for a
recipient is encrypted as a stream. One with a passphrase is held in memory, because the library
encrypts it as a whole.
"""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import BinaryIO

import pyrage

from nsfw_app.errors import BackupError

MAGIC = b"age-encryption.org/"
MAX_PASSPHRASE_BYTES = 500_000_000  # of a backup with a passphrase; three times that is in memory
MAX_SECRET_BYTES = 100_000  # of a file of identities or a passphrase


@contextmanager
def encrypted_for(recipients: Sequence[str], out: BinaryIO) -> Iterator[BinaryIO]:
    """A file whose content is encrypted and written to another one.

    Args:
        recipients: Public keys, `age1...`; each of their owners can decrypt it.
        out: Where the encrypted content is written.

    Raises:
        BackupError: A recipient is not one, or it cannot be encrypted.
        OSError: It cannot be written.
    """
    keys = [_recipient(text) for text in recipients]
    read, write = os.pipe()
    with os.fdopen(read, "rb") as source, os.fdopen(write, "wb") as target:
        encryption = _Worker(lambda: _encrypt(source, out, keys), source)
        with encryption.joined(target):
            yield target


@contextmanager
def encrypted_with(passphrase: str, out: BinaryIO) -> Iterator[BinaryIO]:
    """A file whose content is encrypted with a passphrase and written to another one.

    Raises:
        BackupError: It has more than `MAX_PASSPHRASE_BYTES`.
        OSError: It cannot be written.
    """
    content = _Bounded()
    yield content
    out.write(pyrage.passphrase.encrypt(content.getvalue(), passphrase))


class _Bounded(BytesIO):
    """Content in memory, up to the limit."""

    def write(self, data: "bytes | memoryview | bytearray") -> int:  # type: ignore[override]
        if self.tell() + len(data) > MAX_PASSPHRASE_BYTES:
            raise BackupError(
                f"A backup with a passphrase can have {MAX_PASSPHRASE_BYTES // 1_000_000} MB at "
                "most. Use --recipient, which has no limit."
            )
        return super().write(data)


def is_encrypted(source: BufferedReader) -> bool:
    """Whether the content that follows in a file is encrypted; nothing of it is read."""
    return source.peek(len(MAGIC)).startswith(MAGIC)


@contextmanager
def decrypted_by(identities: str, source: BinaryIO) -> Iterator[BinaryIO]:
    """The content of an encrypted file.

    Args:
        identities: The text of a file of secret keys, as `age-keygen` writes it.
        source: The encrypted file.

    Raises:
        BackupError: There is no secret key in the text, or none fits.
    """
    lines = [line.strip() for line in identities.splitlines()]
    texts = [line for line in lines if line and not line.startswith("#")]
    try:
        keys = [pyrage.x25519.Identity.from_str(text) for text in texts]
    except pyrage.IdentityError as error:
        raise BackupError(
            "The identity file has a line that is not a secret key of age (AGE-SECRET-KEY-1...)."
        ) from error
    if not keys:
        raise BackupError("The identity file has no secret key.")
    read, write = os.pipe()
    with os.fdopen(read, "rb") as content, os.fdopen(write, "wb") as target:
        decryption = _Worker(lambda: _decrypt(source, target, keys), target)
        with decryption.joined(content):
            yield content


@contextmanager
def decrypted_with(passphrase: str, source: BinaryIO) -> Iterator[BinaryIO]:
    """The content of a file that was encrypted with a passphrase.

    Raises:
        BackupError: It is another passphrase, or the file is damaged or too large.
    """
    encrypted = source.read(2 * MAX_PASSPHRASE_BYTES)
    try:
        content = pyrage.passphrase.decrypt(encrypted, passphrase)
    except pyrage.DecryptError as error:
        raise BackupError(_sentence(error)) from error
    yield BytesIO(content)


def secret_of(path: Path, *, noun: str) -> str:
    """The text of a file with a passphrase or identities.

    Args:
        path: The file.
        noun: What it holds, for messages.

    Raises:
        BackupError: It cannot be read, is empty, too long, or not UTF-8.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SECRET_BYTES + 1)
        text = data.decode().strip("\r\n")
    except OSError as error:
        raise BackupError(f"The {noun} in {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise BackupError(f"The {noun} in {path} is not UTF-8 text.") from error
    if not text.strip() or len(data) > MAX_SECRET_BYTES:
        raise BackupError(f"The {noun} in {path} must have between 1 and {MAX_SECRET_BYTES} bytes.")
    return text


def _recipient(text: str) -> pyrage.x25519.Recipient:
    try:
        return pyrage.x25519.Recipient.from_str(text)
    except pyrage.RecipientError as error:
        raise BackupError(
            f"{text!r} is not a recipient of age. It begins with age1, and age-keygen prints it."
        ) from error


def _encrypt(source: BinaryIO, out: BinaryIO, keys: Sequence[pyrage.x25519.Recipient]) -> None:
    try:
        pyrage.encrypt_io(source, out, keys)
    except pyrage.EncryptError as error:  # also for each error of the output
        raise BackupError(f"The encrypted backup cannot be written: {error}.") from error


def _decrypt(source: BinaryIO, target: BinaryIO, keys: Sequence[pyrage.x25519.Identity]) -> None:
    try:
        pyrage.decrypt_io(source, target, keys)
    except pyrage.DecryptError as error:
        raise BackupError(_sentence(error)) from error
    except OSError as error:
        if error.errno is not None:
            raise
        # The library found content that was changed or cut off.
        raise BackupError(_sentence(error)) from error


def _sentence(error: Exception) -> str:
    return f"The backup cannot be decrypted: {str(error).rstrip('.') or 'it is damaged'}."


class _Worker:
    """A thread at the other end of a pipe; its error is raised where the pipe is used.

    Args:
        work: What it does.
        end: Its end of the pipe, closed when it has ended, however it ended.
    """

    def __init__(self, work: Callable[[], None], end: BinaryIO) -> None:
        self._work = work
        self._end = end
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # raised by `joined`
            self._error = error
        finally:
            with suppress(OSError):
                self._end.close()

    @contextmanager
    def joined(self, own: BinaryIO) -> Iterator[None]:
        """Run it during the block, then close the block's own end and wait for it.

        The error that came first is raised; the other end fails because of it.
        """
        self._thread.start()
        raised: BaseException | None = None
        try:
            yield
        except BaseException as error:  # raised below
            raised = error
        failed_first = self._error
        with suppress(OSError):
            own.close()
        self._thread.join()
        if first := failed_first or raised or self._error:
            raise first
