"""Writes snapshots of a store periodically, when something has changed, and at shutdown."""

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from nsfw_app.backups.snapshot_directory import SnapshotDirectory
from nsfw_app.errors import NSFWReviewError
from nsfw_app.store import Store
from nsfw_app.sync_status import SyncStatus

log = logging.getLogger(__name__)


class SnapshotWriter:
    """Writes snapshots in a thread.

    - Nothing is written while nothing was committed.
    - A failure is logged, is in the status, and the next attempt follows after the interval.

    Args:
        store: The store; decisions continue during a snapshot.
        directory: Where snapshots are written.
        interval_s: Seconds between attempts.
        clock: The time in UTC.
    """

    def __init__(
        self,
        store: Store,
        directory: SnapshotDirectory,
        *,
        interval_s: float,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._directory = directory
        self._interval_s = interval_s
        self._clock = clock
        self._status = SyncStatus(str(directory.directory), None, None, 0)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="snapshots", daemon=True)
        self._saved: object = None

    def status(self) -> SyncStatus:
        """When the last snapshot was written, and the error of the last attempt."""
        return self._status

    def start(self) -> None:
        """Write the first snapshot now, and others while the server runs."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread, after the snapshot that it is writing, and write a last one."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        self._saved = None  # states of the database are comparable within one thread only
        self.write_if_changed()

    def write_if_changed(self) -> None:
        """Write a snapshot unless nothing was committed since the last one."""
        try:
            state = self._store.copies.state()
            if state == self._saved:
                return
            with self._store.copies.copied() as copy:
                self._directory.write(copy, self._store.previews)
        except NSFWReviewError as error:
            log.warning("The snapshot failed: %s (%s)", error, error.__cause__)
            self._status = replace(self._status, error=str(error))
        except Exception as error:  # an error in one snapshot must not end the thread
            log.exception("The snapshot failed.")
            self._status = replace(self._status, error=f"{type(error).__name__}; see the log.")
        else:
            self._saved = state
            self._status = replace(self._status, last_success_at=self._clock(), error=None)

    def _run(self) -> None:
        while True:
            self.write_if_changed()
            if self._stopping.wait(self._interval_s):
                return
