"""When changes are saved: a minute after the first one, and at shutdown.

- What fails stays noted and is tried again, at first after a minute, then less often, and not
  before the hub allows it.
- Files are rolled up after a save, in the same thread; changes are saved between its steps,
  see `maintenance`.
"""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from nsfw_app.dataset_errors import HubFailed, PublicRepository, ServerReplaced
from nsfw_app.errors import NSFWReviewError, StorageError
from nsfw_app.hub_sync.maintenance import Maintenance
from nsfw_app.hub_sync.repository import HubRepository
from nsfw_app.hub_sync.saving import Saver
from nsfw_app.store.process_lock import process_lock
from nsfw_app.sync_status import SyncStatus

log = logging.getLogger(__name__)

INTERVAL_S = 60
MAX_WAIT_S = 900  # between attempts that fail
SHUTDOWN_S = 20  # for the last save
COUNT_VALID_S = 5
LOCK_POLL_S = 0.1


def _now() -> datetime:
    return datetime.now(UTC)


class HubSync:
    """Saves a store's changes in a thread.

    Args:
        saver: Saves them.
        repository: Where to.
        lock_file: Of the data directory, so that one of its servers saves at a time.
        clock: Seconds that only increase.
        now: The time.
    """

    def __init__(
        self,
        saver: Saver,
        repository: HubRepository,
        *,
        lock_file: Path,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = _now,
    ) -> None:
        self._saver = saver
        self._repository = repository
        self._lock_file = lock_file
        self._clock = clock
        self._now = now
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._prepared = False
        self._failures_in_a_row = 0
        self._tried_at = 0.0
        self._wait_s: float = INTERVAL_S
        self.maintenance = Maintenance(
            saver,
            repository.name,
            clock=clock,
            now=now,
        )
        self._pending: tuple[float, int] | None = None
        self._last_success_at: datetime | None = None
        self._error: str | None = None
        self._is_replaced = False
        self.failures = 0
        self.started_at = now()

    @property
    def status(self) -> SyncStatus:
        """When changes were last saved, and what is wrong."""
        return SyncStatus(
            self._repository.name,
            self._last_success_at,
            self._error,
            self._count_pending(),
            replaced=self._is_replaced,
            maintenance_error=self.maintenance.error,
        )

    def _count_pending(self) -> int:
        """Rows that are not saved yet, counted every few seconds: every open page asks."""
        moment = self._clock()
        if self._pending is None or moment >= self._pending[0] + COUNT_VALID_S:
            with suppress(StorageError):  # reported by /readyz
                self._pending = moment, self._saver.pending
        return self._pending[1] if self._pending else 0

    def start(self) -> None:
        """Save from now on, in a thread."""
        self._thread = threading.Thread(target=self._run, name="hub-sync", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Save once more and stop, within `SHUTDOWN_S` seconds."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(SHUTDOWN_S)
            if self._thread.is_alive():
                log.error("Not everything was saved in %s in time.", self._repository.name)

    def attempt(self) -> float:
        """Save what changed, and do what is due; return in how many seconds to try again."""
        try:
            with process_lock(self._lock_file) as is_locked:
                if is_locked:
                    return self._attempt()
                if not self._saver.pending:  # another process of this data directory saved it
                    self._last_success_at = self._now()
        except StorageError as error:
            return self._failed(error)
        except Exception as error:  # an unexpected error must not end the thread
            log.exception("Saving in %s failed.", self._repository.name)
            return self._failed(HubFailed(f"{type(error).__name__}; the log has more."))
        return INTERVAL_S

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._stopped.wait(self.attempt())
        self._save_last_changes()

    def _save_last_changes(self) -> None:
        """Save until nothing is left, also where another process saves first."""
        end = time.monotonic() + SHUTDOWN_S
        while True:
            self.attempt()
            with suppress(StorageError):
                if self._error is None and self._saver.pending and time.monotonic() < end:
                    time.sleep(LOCK_POLL_S)
                    continue
            return

    def _attempt(self) -> float:
        if self._save():
            self.maintenance.run(self._go_on)
        if self._error is not None:
            return self._wait_s
        return max(0.0, self._tried_at + INTERVAL_S - self._clock())

    def _go_on(self) -> bool:
        """Save what changed, if that is due; whether maintenance goes on."""
        if self._stopped.is_set() or self._error is not None:
            return False
        if self._clock() >= self._tried_at + INTERVAL_S:
            self._save()
        return self._error is None

    def _save(self) -> bool:
        """Save what changed; whether that succeeded."""
        self._tried_at = self._clock()
        try:
            if not self._prepared:
                self._saver.prepare()
                self._prepared = True
            saved = self._saver.save()
        except PublicRepository as error:
            self._prepared = False  # nothing is sent until it is private again
            self._wait_s = self._failed(error)
            return False
        except NSFWReviewError as error:
            self._wait_s = self._failed(error)
            return False
        if saved:
            self.maintenance.count_batch()
        self._failures_in_a_row = 0
        self._error = self._pending = None
        self._is_replaced = False
        self._last_success_at = self._now()
        self._wait_s = INTERVAL_S
        return True

    def _failed(self, error: NSFWReviewError) -> float:
        self.failures += 1
        self._failures_in_a_row += 1
        self._error = str(error)
        self._is_replaced = isinstance(error, ServerReplaced)
        log.warning("Saving in %s failed: %s", self._repository.name, error)
        wait: float = min(INTERVAL_S * 2 ** (self._failures_in_a_row - 1), MAX_WAIT_S)
        allowed = error.retry_after_s if isinstance(error, HubFailed) else None
        return max(wait, allowed or 0)
