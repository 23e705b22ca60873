"""Rolls up files, writes the dataset card and squashes commits, after a save, in its thread.

- It is due every 60 batches, and at least once a day where something was saved.
- Between its steps changes are saved, and it ends where the server is stopped or a save fails.
- What fails is tried again without new batches, at first after 15 minutes, then less often, and not
  before the hub allows it.
"""

import logging
from collections.abc import Callable
from datetime import datetime

from nsfw_app.dataset_errors import HubFailed
from nsfw_app.errors import NSFWReviewError
from nsfw_app.hub_sync.saving import Saver

log = logging.getLogger(__name__)

BATCHES_TO_ROLL_UP = 60
DAY_S = 86_400
REST_S = 1_800  # after which the rest is done, where one attempt is not enough
FIRST_WAIT_S = 900  # after an attempt that failed
MAX_WAIT_S = 6 * 3_600


class Maintenance:
    """Keeps the number of files and commits in a repository small.

    - `error` says what failed, until an attempt succeeds; `failures` counts failed attempts.

    Args:
        saver: Saves the changes of a store.
        repository_name: Where to, for messages.
        clock: Seconds that only increase.
        now: The time.
    """

    def __init__(
        self,
        saver: Saver,
        repository_name: str,
        *,
        clock: Callable[[], float],
        now: Callable[[], datetime],
    ) -> None:
        self._saver = saver
        self._repository_name = repository_name
        self._clock = clock
        self._now = now
        self._batches = 0  # since it last succeeded
        self._squashed_at: float | None = None
        self._retry_at = 0.0
        self._failures_in_a_row = 0
        self.error: str | None = None
        self.failures = 0

    def count_batch(self) -> None:
        """Count a save."""
        self._batches += 1

    def run(self, go_on: Callable[[], bool]) -> None:
        """Do what is due, if anything is.

        Args:
            go_on: Called between steps; saves what changed, and returns whether to go on.
        """
        if not self._is_due() or not go_on():
            return
        try:
            self._attempt(go_on)
        except NSFWReviewError as error:
            self._failed(error)
        except Exception as error:  # an unexpected error is reported, and tried again
            log.exception("Rolling up files in %s failed.", self._repository_name)
            self._failed(HubFailed(f"{type(error).__name__}; the log has more."))

    def _is_due(self) -> bool:
        enough = self._is_daily() or self._batches >= BATCHES_TO_ROLL_UP
        return bool(self._batches) and enough and self._clock() >= self._retry_at

    def _is_daily(self) -> bool:
        return self._squashed_at is None or self._clock() - self._squashed_at >= DAY_S

    def _attempt(self, go_on: Callable[[], bool]) -> None:
        moment, batches, daily = self._clock(), self._batches, self._is_daily()
        is_done = self._saver.roll_up(rewrite=daily, go_on=go_on)
        if not is_done:
            self._retry_at = moment + REST_S
        if not is_done or not go_on():
            return
        self._saver.write_card(self._now().strftime("%Y-%m-%d %H:%M UTC"))
        if daily:
            if not go_on():
                return
            self._saver.squash()
            self._squashed_at = moment
        self._batches -= batches
        self._failures_in_a_row = 0
        self.error = None
        if self._saver.diverged:
            log.warning(
                "%d files in %s are not part of this server's log: another server saved them as "
                "'%s' after this one had been restored.",
                self._saver.diverged,
                self._repository_name,
                self._saver.instance,
            )

    def _failed(self, error: NSFWReviewError) -> None:
        self.failures += 1
        self._failures_in_a_row += 1
        self.error = str(error)
        log.warning("Rolling up files in %s failed: %s", self._repository_name, error)
        wait = min(FIRST_WAIT_S * 2 ** (self._failures_in_a_row - 1), MAX_WAIT_S)
        allowed = error.retry_after_s if isinstance(error, HubFailed) else None
        self._retry_at = self._clock() + max(wait, allowed or 0)
