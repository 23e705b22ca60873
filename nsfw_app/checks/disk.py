"""Checks the free space of the disks of the data directory and of snapshots."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from nsfw_app.checks.finding import Finding, fault, warning

NAME = "disk"
LEAST_BYTES = 200_000_000  # below it, uploads may fail soon
LOW_BYTES = 1_000_000_000


def check_disk(database: Path, snapshot_dir: Path | None = None) -> Iterator[Finding]:
    """A fault where almost nothing is free on a disk, a warning where little is.

    Args:
        database: The SQLite file. A backup or snapshot needs as much free space as it has.
        snapshot_dir: Where snapshots are written; None for nowhere. It may be on another disk.

    Raises:
        OSError: A directory cannot be read.
    """
    copy_bytes = database.stat().st_size
    yield from _check(database.parent, copy_bytes, "Uploads and decisions", "backup")
    if snapshot_dir is not None:
        yield from _check(snapshot_dir, copy_bytes, "Snapshots", "snapshot")


def _check(directory: Path, copy_bytes: int, what_fails: str, copy: str) -> Iterator[Finding]:
    free_bytes = shutil.disk_usage(directory).free
    sentence = f"{free_bytes // 1_000_000} MB are free on the disk of {directory}."
    if free_bytes < LEAST_BYTES:
        yield fault(NAME, f"{sentence} {what_fails} will fail.")
    elif free_bytes < LOW_BYTES:
        yield warning(NAME, sentence)
    elif free_bytes < 2 * copy_bytes:
        yield warning(NAME, f"{sentence} A {copy} needs {copy_bytes // 1_000_000} MB.")
