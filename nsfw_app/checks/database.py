"""Checks the database: SQLite's own structures, references, and tables derived from decisions."""

from collections.abc import Iterator
from pathlib import Path

from nsfw_app.checks.finding import Finding, fault
from nsfw_app.store import Store
from nsfw_app.store.database_files import damages

NAME = "database"


def check_database(store: Store, path: Path) -> Iterator[Finding]:
    """A fault for each damage, and for each derived table that differs from its source.

    Args:
        store: The open store.
        path: Its database.

    Raises:
        StorageError: The database cannot be read.
    """
    damaged = False
    for line in damages(path):
        damaged = True
        yield fault(NAME, f"{line}. Restore a backup.")
    if damaged:
        return  # rows that cannot be read cannot be compared
    for difference in store.consistency.check():
        yield fault(
            NAME,
            f"{difference.table}: {difference.missing} rows missing, "
            f"{difference.surplus} rows too many.",
        )
