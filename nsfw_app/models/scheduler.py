"""Schedulers: how requests share a model.

- `DynamicBatcher` runs what waits while the model computes as its next batch; `UnbatchedClassifier`
  lets each caller's thread compute, for a backend that gains nothing from batches.
- A lone caller never waits.
- At most `max_waiting` images wait; the next is rejected with `Overloaded` instead of joining a
  backlog.
- An image that the model fails on fails alone.
"""

import logging
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nsfw_app.concurrency import CpuSlots
from nsfw_app.concurrency_limits import in_flight_batched, in_flight_unbatched
from nsfw_app.errors import OutOfMemory, Overloaded, PredictionFailed, lacks_memory
from nsfw_app.models.classifier import Backend, Pixels
from nsfw_app.system import usable_cpus

log = logging.getLogger(__name__)

MAX_BATCH = 8  # pictures; beyond this no network gains speed on a CPU
RETRY_AFTER_S = 1  # those who wait for a quick network are through in about that
UNFORESEEN = "The model ended without an answer; the log tells why."


class QueuedClassifier(ABC):
    """A classifier over a network, but for who waits for whom.

    Args:
        network: What computes.
        max_waiting: Images that may wait, each with all its pictures; who comes when so many do
            is turned away.
        max_batch: Pictures computed at once.
        cores: CPU threads that it shares with whoever makes pictures ready for it; None for all
            that this process may use.
    """

    def __init__(
        self,
        network: Backend,
        *,
        max_waiting: int,
        max_batch: int = MAX_BATCH,
        cpu_slots: CpuSlots | None = None,
    ) -> None:
        self._network = network
        self._max_waiting = max_waiting
        self._max_batch = max_batch
        self._lock = threading.Lock()
        self.cpu_slots = cpu_slots or CpuSlots(usable_cpus())
        self.identity = network.identity
        self.roles = network.roles
        self.downscale_rules = network.downscale_rules

    def prepare(self, image: Image.Image) -> Pixels:
        """See `Backend.prepare`."""
        return self._network.prepare(image)

    def predict(self, images: Sequence[Image.Image]) -> list[dict[str, float]]:
        """See `Classifier.predict`."""
        return self.predict_prepared([self.prepare(image) for image in images])

    def predict_prepared(self, pictures: Sequence[Pixels]) -> list[dict[str, float]]:
        """See `Classifier.predict_prepared`."""
        rows = self._answered(pictures) if pictures else ()
        return [dict(zip(self.roles, map(float, row), strict=True)) for row in rows]

    @abstractmethod
    def _answered(self, pictures: Sequence[Pixels]) -> NDArray[np.float64]:
        """Probabilities of at least one picture, shape (n, labels), once it is their turn."""

    def _check_room(self, waiting: int) -> None:
        if waiting >= self._max_waiting:
            raise Overloaded(
                f"{self._max_waiting} images are waiting for the model already. "
                "Try again in a moment.",
                retry_after_s=RETRY_AFTER_S,
            )

    def _score(self, pictures: Sequence[Pixels]) -> NDArray[np.float64]:
        """What the network says of them; whoever calls has a core for it.

        Raises:
            PredictionFailed: The network raised an error.
            OutOfMemory: Because there was not enough memory.
        """
        parts = []
        try:
            for start in range(0, len(pictures), self._max_batch):
                batch = np.stack(pictures[start : start + self._max_batch])
                parts.append(self._network.score(batch))
            return np.concatenate(parts)
        except Exception as error:
            if lacks_memory(error):
                raise OutOfMemory from error
            if isinstance(error, PredictionFailed):
                raise
            log.exception("The network raised what it should not.")
            raise PredictionFailed(UNFORESEEN) from error


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
        return in_flight_batched(self._max_batch)

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
        return in_flight_unbatched(self._network.max_concurrency)

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
