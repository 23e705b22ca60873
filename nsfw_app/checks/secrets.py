"""Checks that the stored secrets of webhooks can be decrypted."""

from collections.abc import Iterator

from nsfw_app.checks.finding import Finding, fault
from nsfw_app.store import Store

NAME = "secrets"


def check_secrets(store: Store) -> Iterator[Finding]:
    """A fault for each API key whose webhook messages cannot be signed.

    Raises:
        StorageError: The database or the file of the key cannot be read.
    """
    for name in store.keys.undecryptable():
        yield fault(
            NAME,
            f"The webhook secret of the API key {name!r} cannot be decrypted with review.db.key. "
            "Restore that file from a backup, or add another key.",
        )
