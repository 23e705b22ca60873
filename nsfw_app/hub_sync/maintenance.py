"""Rolls up files, writes the dataset card and squashes commits, in a thread of its own.

- Changes are saved concurrently; neither a save nor the end of the server waits for it.
- It is due every 60 batches, and at least once a day where something was saved.
- What fails is tried again without new batches, at first after 15 minutes, then less often, and not
  before the hub allows it.
"""

import logging
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from nsfw_app.dataset_errors import HubFailed
from nsfw_app.errors import NSFWReviewError
from nsfw_app.hub_sync.process_lock import process_lock
from nsfw_app.hub_sync.saving import Saver

log = logging.getLogger(__name__)

BATCHES_TO_ROLL_UP = 60
DAY_S = 86_400
FIRST_WAIT_S = 900  # after an attempt that failed
MAX_WAIT_S = 6 * 3_600
STOP_S = 2  # for the step that is under way when the server is stopped


class Maintenance:
    """Keeps the number of files and commits in a repository small.

    - `error` says what failed, until an attempt succeeds; `failures` counts failed attempts.

    Args:
        saver: Saves the changes of a store.
        repository_name: Where to, for messages.
        lock_file: Of the data directory, so that one of its servers does this at a time.
        clock: Seconds that only increase.
        now: The time.
        stopped: Set when the server is stopped.
    """

    def __init__(
        self,
        saver: Saver,
        repository_name: str,
        *,
        lock_file: Path,
        clock: Callable[[], float],
        now: Callable[[], datetime],
        stopped: threading.Event,
    ) -> None:
        self._saver = saver
        self._repository_name = repository_name
        self._lock_file = lock_file
        self._clock = clock
        self._now = now
        self._stopped = stopped
        self._thread: threading.Thread | None = None
        self._batches = 0  # since it last succeeded
        self._squashed_at: float | None = None
        self._retry_at = 0.0
        self._failures_in_a_row = 0
        self.error: str | None = None
        self.failures = 0

    def count_batch(self) -> None:
        """Count a save."""
        self._batches += 1

    def start(self) -> None:
        """Do what is due in a thread, unless it runs already."""
        if (self._thread is None or not self._thread.is_alive()) and self._is_due():
            self._thread = threading.Thread(
                target=self.run, name="hub-sync-maintenance", daemon=True
            )
            self._thread.start()

    def join(self) -> None:
        """Wait for the step that is under way, for up to `STOP_S` seconds.

        One that takes longer is left to itself: its commit is made as a whole, or not at all.
        """
        if self._thread is not None:
            self._thread.join(STOP_S)

    def run(self) -> None:
        """Do what is due, if anything is."""
        if not self._is_due():
            return
        try:
            with process_lock(self._lock_file) as is_locked:
                if is_locked:
                    self._attempt()
        except NSFWReviewError as error:
            self._failed(error)
        except Exception as error:  # an unexpected error is reported, and tried again
            if not self._stopped.is_set():
                log.exception("Rolling up files in %s failed.", self._repository_name)
            self._failed(HubFailed(f"{type(error).__name__}; the log has more."))

    def _is_due(self) -> bool:
        enough = self._is_daily() or self._batches >= BATCHES_TO_ROLL_UP
        is_due = bool(self._batches) and enough and self._clock() >= self._retry_at
        return is_due and not self._stopped.is_set()

    def _is_daily(self) -> bool:
        return self._squashed_at is None or self._clock() - self._squashed_at >= DAY_S

    def _attempt(self) -> None:
        moment, batches, daily = self._clock(), self._batches, self._is_daily()
        commits = self._saver.roll_up(rewrite=daily, stopped=self._stopped.is_set)
        if self._stopped.is_set():
            return
        self._saver.write_card(self._now().strftime("%Y-%m-%d %H:%M UTC"))
        if daily:
            self._saver.squash()
            self._squashed_at = moment
        self._batches -= batches
        self._failures_in_a_row = 0
        self.error = None
        log.debug("Files were rolled up in %d commits.", commits)
        if self._saver.diverged:
            log.warning(
                "%d files in %s are not part of this server's log: another server saved them as "
                "'%s' after this one had been restored.",
                self._saver.diverged,
                self._repository_name,
                self._saver.instance,
            )

    def _failed(self, error: NSFWReviewError) -> None:
        if self._stopped.is_set():  # the server ends
            return
        self.failures += 1
        self._failures_in_a_row += 1
        self.error = str(error)
        log.warning("Rolling up files in %s failed: %s", self._repository_name, error)
        wait = min(FIRST_WAIT_S * 2 ** (self._failures_in_a_row - 1), MAX_WAIT_S)
        allowed = error.retry_after_s if isinstance(error, HubFailed) else None
        self._retry_at = self._clock() + max(wait, allowed or 0)
