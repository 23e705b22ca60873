"""Encryption of secrets at rest, with a key in a file next to the database.

A copy of the database alone does not reveal them; a backup needs both files. The cipher is Fernet:
AES-128 in CBC mode with an HMAC of SHA-256.
"""

from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken

from nsfw_app import private_files
from nsfw_app.errors import SecretError
from nsfw_app.private_files import storage_errors


class SecretCipher:
    """Encrypts and decrypts short texts.

    Args:
        key_file: The file of the key; created with the first secret, with mode 0600.
    """

    def __init__(self, key_file: Path) -> None:
        self._key_file = key_file

    def encrypt(self, secret: str) -> str:
        """Encrypt a secret. Call it in a write transaction, so that only one key is ever created.

        Raises:
            SecretError: The key file is damaged.
            StorageError: It cannot be read or written.
        """
        with storage_errors():
            if not self._key_file.exists():
                with private_files.staged(self._key_file, Fernet.generate_key()) as part:
                    part.replace(self._key_file)
        return self._fernet().encrypt(secret.encode()).decode()

    def decrypt(self, encrypted: str) -> str:
        """Decrypt a secret.

        Raises:
            SecretError: It was encrypted with another key, or the key file is missing or damaged.
            StorageError: The key file cannot be read.
        """
        try:
            return self._fernet().decrypt(encrypted).decode()
        except InvalidToken:
            raise SecretError(
                f"The secret cannot be decrypted with the key in {self._key_file.name}. Restore "
                "the file that belongs to this database, or make a new API key."
            ) from None

    def can_decrypt(self, encrypted: str) -> bool:
        """Whether `decrypt` succeeds.

        Raises:
            StorageError: The key file cannot be read.
        """
        try:
            self.decrypt(encrypted)
        except SecretError:
            return False
        return True

    def _fernet(self) -> Fernet:
        with storage_errors():
            try:
                return Fernet(self._key_file.read_bytes().strip())
            except (FileNotFoundError, ValueError):
                raise SecretError(
                    f"{self._key_file.name} is missing from the data directory or damaged. Restore "
                    "the file that belongs to this database, or make a new API key."
                ) from None
