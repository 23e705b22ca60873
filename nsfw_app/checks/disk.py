"""Checks the free space of the disk of the data directory."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from nsfw_app.checks.finding import Finding, fault, warning

NAME = "disk"
LEAST_BYTES = 200_000_000  # below it, uploads may fail soon
LOW_BYTES = 1_000_000_000


def check_disk(database: Path) -> Iterator[Finding]:
    """A fault where almost nothing is free, a warning where little is.

    Args:
        database: The SQLite file. A backup needs as much free space as it has.
    """
    free_bytes = shutil.disk_usage(database.parent).free
    backup_bytes = database.stat().st_size
    sentence = f"{free_bytes // 1_000_000} MB are free on the disk of {database.parent}."
    if free_bytes < LEAST_BYTES:
        yield fault(NAME, f"{sentence} Uploads and decisions will fail.")
    elif free_bytes < LOW_BYTES:
        yield warning(NAME, sentence)
    elif free_bytes < 2 * backup_bytes:
        yield warning(
            NAME, f"{sentence} A backup needs {backup_bytes // 1_000_000} MB for the time it takes."
        )
