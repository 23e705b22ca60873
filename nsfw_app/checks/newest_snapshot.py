"""Checks that the newest snapshot can be restored."""

from collections.abc import Iterator

from nsfw_app.backups.restore import verify
from nsfw_app.backups.snapshot_directory import SnapshotDirectory
from nsfw_app.checks.finding import Finding, fault, warning
from nsfw_app.errors import BackupError

NAME = "snapshots"


def check_newest_snapshot(snapshots: SnapshotDirectory) -> Iterator[Finding]:
    """A fault where the newest snapshot is damaged, a warning where there is none.

    Raises:
        StorageError: The directory cannot be read.
    """
    archives = snapshots.archives()
    if not archives:
        yield warning(NAME, f"There is no snapshot in {snapshots.directory} yet.")
        return
    try:
        with archives[0].open("rb") as source:
            verify(source)
    except (BackupError, OSError) as error:
        yield fault(NAME, f"{archives[0].name} cannot be restored: {error}")
