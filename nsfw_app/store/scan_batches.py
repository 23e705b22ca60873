"""Batches of images that were put into the review queue from scans: what they have already.

One process of a data directory fills one at a time, so that no image is put into two.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nsfw_app.store.connections import Connections
from nsfw_app.store.process_lock import process_lock
from nsfw_app.store.queue_entries import IN_QUEUE
from nsfw_app.store.scan_draws import SOURCE


class ScanBatches:
    """Reads batches, and locks them while one is filled.

    Args:
        connections: The database.
        lock_file: The file that is locked.
    """

    def __init__(self, connections: Connections, lock_file: Path) -> None:
        self._connections = connections
        self._lock_file = lock_file

    @contextmanager
    def filling(self) -> Iterator[bool]:
        """Whether no other process fills a batch, until the block ends.

        Raises:
            StorageError: The lock file cannot be opened.
        """
        with process_lock(self._lock_file) as is_alone:
            yield is_alone

    def images(self, name: str) -> frozenset[str]:
        """The hashes of a batch's images that wait in the queue or were settled there."""
        rows = self._connections.db.execute(
            f"""
            select distinct u.image_sha256 from uploads u
            where u.source = '{SOURCE}' and u.batch_id = ? and exists (
              select 1 from predictions p join queue on prediction_id = p.id
              where p.image_sha256 = u.image_sha256 and {IN_QUEUE}
            )
            """,
            (name,),
        )
        return frozenset(row[0] for row in rows)
