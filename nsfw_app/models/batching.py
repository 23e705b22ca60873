"""Many callers, one network: whatever waits while it computes becomes its next batch.

What always holds: a lone caller waits for nobody; only so many images wait, and one too many is
told to come back instead of joining a backlog; a picture that the network fails on takes no other
with it.
"""

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nsfw_app.errors import PredictionFailed
from nsfw_app.models.asking import QueuedClassifier
from nsfw_app.models.classifier import Backend, Pixels


@dataclass(frozen=True, slots=True)
class _Waiting:
    """Prepared pictures of one caller, and where the answer goes."""

    pixels: Sequence[Pixels]
    answer: Future[NDArray[np.float64]] = field(default_factory=Future)


class DynamicBatcher(QueuedClassifier):
    """A classifier over a network that computes batches; see the module and its base."""

    def __init__(self, network: Backend, **chosen: Any) -> None:
        super().__init__(network, **chosen)
        self._waiting: deque[_Waiting] = deque()
        self._workers = ThreadPoolExecutor(network.max_concurrency, thread_name_prefix="batcher")

    @property
    def waiting(self) -> int:
        """Images that wait for the network now."""
        with self._lock:
            return len(self._waiting)

    @property
    def max_in_flight(self) -> int:
        """See `Classifier.max_in_flight`."""
        return self._max_batch + self._max_batch // 2  # half a batch is made ready beside another

    def _answered(self, pictures: Sequence[Pixels]) -> NDArray[np.float64]:
        mine = _Waiting(pictures)
        with self._lock:
            self._check_room(len(self._waiting))
            self._waiting.append(mine)
        self._workers.submit(self._turn)
        return mine.answer.result()

    def _turn(self) -> None:
        """Answer those who wait longest; the turns of the others find nothing left to do."""
        if not self.waiting:
            return
        with self.cpu_slots.acquire(priority=True):  # what comes meanwhile belongs to the batch
            if batch := self._next():
                self._answer(batch)

    def _next(self) -> list[_Waiting]:
        """As many as fit; one caller's pictures stay together."""
        batch: list[_Waiting] = []
        size = 0
        with self._lock:
            while self._waiting and (
                not batch or size + len(self._waiting[0].pixels) <= self._max_batch
            ):
                batch.append(self._waiting.popleft())
                size += len(batch[-1].pixels)
        return batch

    def _answer(self, batch: list[_Waiting]) -> None:
        try:
            rows = self._score([pixels for waiting in batch for pixels in waiting.pixels])
        except PredictionFailed as error:
            if len(batch) == 1:
                batch[0].answer.set_exception(error)
            else:
                for waiting in batch:
                    self._answer([waiting])
            return
        done = 0
        for waiting in batch:
            waiting.answer.set_result(rows[done : done + len(waiting.pixels)])
            done += len(waiting.pixels)
