"""Many callers, each of whom computes for themselves: for a network that gains nothing by batches.

What always holds: no more compute at once than there are CPU threads; only so many images wait,
and one too many is told to come back instead of joining a backlog.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nsfw_app.models.asking import QueuedClassifier
from nsfw_app.models.classifier import Pixels


class UnbatchedClassifier(QueuedClassifier):
    """A classifier over a network that several threads may call; see the module and its base."""

    _here = 0  # images that wait or are computed

    @property
    def waiting(self) -> int:
        """Images beyond those that may compute at once."""
        return max(0, self._here - self._network.max_concurrency)

    @property
    def max_in_flight(self) -> int:
        """See `Classifier.max_in_flight`."""
        return 2 * self._network.max_concurrency  # some read and store while others compute

    def _answered(self, pictures: Sequence[Pixels]) -> NDArray[np.float64]:
        with self._lock:
            self._check_room(self.waiting)
            self._here += 1
        try:
            with self.cpu_slots.acquire(priority=True):
                return self._score(pictures)
        finally:
            with self._lock:
                self._here -= 1
