"""Schedulers: how concurrent requests share one model.

- `DynamicBatcher` computes the requests that arrived during one batch as the next batch;
  `UnbatchedClassifier` computes each request in its caller's thread, for backends that gain
  nothing from batches.
- A single caller never waits for a batch to fill.
- At most `max_waiting` requests wait; the next is rejected with `Overloaded`, so that no backlog
  grows.
- A request that the model fails on fails alone.
- A request with the priority `BACKGROUND` is computed only while no other waits, and at most one
  batch before another that arrives. Its images are in addition to the queue limit.
"""

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nsfw_app.concurrency import CpuSlots, Priority
from nsfw_app.concurrency_limits import in_flight_batched, in_flight_unbatched
from nsfw_app.errors import OutOfMemory, Overloaded, PredictionFailed, lacks_memory
from nsfw_app.models.classifier import Attributing, Backend, Box, Pixels
from nsfw_app.settings import DEFAULT_BATCH_SIZE
from nsfw_app.system import usable_cpus

log = logging.getLogger(__name__)
Result = TypeVar("Result")

RETRY_AFTER_S = 1  # a full queue of a fast model is empty in about this time
MODEL_FAILED = "The model failed. See the server log."

BatchObserver = Callable[[int, float], None]  # called with the images and the seconds of a batch


class QueuedClassifier(ABC):
    """Base class of thread-safe classifiers: preparation, queue limit, batch size, errors.

    Args:
        backend: Computes the model.
        max_waiting: Requests that may wait, each with all its images; further ones are rejected.
        max_batch: Images computed at once. The server's value is NSFW_BATCH_SIZE of
            `settings.py`, passed on by `concurrency_limits.py`.
        cpu_slots: CPU threads that it shares with decoding; None for all that this process may
            use.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        max_waiting: int,
        max_batch: int = DEFAULT_BATCH_SIZE,
        cpu_slots: CpuSlots | None = None,
    ) -> None:
        self._backend = backend
        self._max_waiting = max_waiting
        self._max_batch = max_batch
        self._lock = threading.Lock()
        self._backend_slots = CpuSlots(backend.max_concurrency)
        self.batch_observer: BatchObserver | None = None
        self.cpu_slots = cpu_slots or CpuSlots(usable_cpus())
        self.identity = backend.identity
        self.roles = backend.roles
        self.downscale_rules = backend.downscale_rules

    def prepare(self, image: Image.Image) -> Pixels:
        """See `Backend.prepare`."""
        return self._backend.prepare(image)

    def visible_box(self, size: tuple[int, int]) -> Box:
        """See `Backend.visible_box`."""
        return self._backend.visible_box(size)

    def attribution(self, prepared: Pixels) -> NDArray[np.float64] | None:
        """See `Classifier.attribution`."""
        if not isinstance(self._backend, Attributing):
            return None
        return self._in_background(partial(self._backend.attribution, prepared))

    def predict(self, images: Sequence[Image.Image]) -> list[dict[str, float]]:
        """See `Classifier.predict`."""
        return self.predict_prepared([self.prepare(image) for image in images])

    def predict_prepared(
        self, prepared: Sequence[Pixels], *, priority: Priority = Priority.REQUEST
    ) -> list[dict[str, float]]:
        """See `Classifier.predict_prepared`."""
        if not prepared:
            return []
        if priority is Priority.BACKGROUND:
            rows = self._in_background(partial(self._score, prepared))
        else:
            rows = self._schedule(prepared)
        return [dict(zip(self.roles, map(float, row), strict=True)) for row in rows]

    @abstractmethod
    def _schedule(self, prepared: Sequence[Pixels]) -> NDArray[np.float64]:
        """Wait for a turn, then compute at least one image. Returns shape (n, labels)."""

    def _in_background(self, compute: Callable[[], Result]) -> Result:
        """Compute in the caller's thread, after all requests that wait for a CPU or the backend.

        No CPU slot is held while the backend is busy: decoding needs it.
        """
        while True:
            with self._backend_slots.acquire(Priority.BACKGROUND):
                pass
            with (
                self.cpu_slots.acquire(Priority.BACKGROUND),
                self._backend_slots.acquire_now() as held,
            ):
                if held:
                    return compute()

    def _check_queue_limit(self, waiting: int) -> None:
        if waiting >= self._max_waiting:
            raise Overloaded(
                f"{self._max_waiting} images are waiting for the model already. "
                "Try again in a moment.",
                retry_after_s=RETRY_AFTER_S,
            )

    def _score(self, prepared: Sequence[Pixels]) -> NDArray[np.float64]:
        """Compute probabilities in batches of at most `max_batch`. The caller holds a CPU slot.

        Raises:
            PredictionFailed: The backend raised an error.
            OutOfMemory: There was not enough memory.
        """
        parts = []
        try:
            for start in range(0, len(prepared), self._max_batch):
                batch = np.stack(prepared[start : start + self._max_batch])
                started = time.perf_counter()
                parts.append(self._backend.score(batch))
                if self.batch_observer is not None:
                    self.batch_observer(len(batch), time.perf_counter() - started)
            return np.concatenate(parts)
        except Exception as error:
            if lacks_memory(error):
                raise OutOfMemory from error
            if isinstance(error, PredictionFailed):
                raise
            log.exception("The backend raised an unexpected error.")
            raise PredictionFailed(MODEL_FAILED) from error


@dataclass(frozen=True, slots=True)
class _Request:
    """The prepared images of one caller, and the future of their probabilities."""

    prepared: Sequence[Pixels]
    result: Future[NDArray[np.float64]] = field(default_factory=Future)


class DynamicBatcher(QueuedClassifier):
    """Classifier over a backend that gains from batches: dynamic batching."""

    def __init__(self, backend: Backend, **options: Any) -> None:
        super().__init__(backend, **options)
        self._queue: deque[_Request] = deque()
        self._workers = ThreadPoolExecutor(backend.max_concurrency, thread_name_prefix="batcher")

    @property
    def waiting(self) -> int:
        """Requests that wait for the backend now."""
        with self._lock:
            return len(self._queue)

    @property
    def max_in_flight(self) -> int:
        """See `Classifier.max_in_flight`."""
        return in_flight_batched(self._max_batch)

    def _schedule(self, prepared: Sequence[Pixels]) -> NDArray[np.float64]:
        request = _Request(prepared)
        with self._lock:
            self._check_queue_limit(len(self._queue))
            self._queue.append(request)
        self._workers.submit(self._run_batch)
        return request.result.result()

    def _run_batch(self) -> None:
        """Compute the oldest requests; does nothing if an earlier batch took all of them."""
        if not self.waiting:
            return
        # Requests that arrive while this waits for a slot join the batch.
        with (
            self.cpu_slots.acquire(Priority.REQUEST),
            self._backend_slots.acquire(Priority.REQUEST),
        ):
            if batch := self._take_batch():
                self._complete(batch)

    def _take_batch(self) -> list[_Request]:
        """As many requests as fit into a batch; the images of one request stay together."""
        batch: list[_Request] = []
        size = 0
        with self._lock:
            while self._queue and (
                not batch or size + len(self._queue[0].prepared) <= self._max_batch
            ):
                batch.append(self._queue.popleft())
                size += len(batch[-1].prepared)
        return batch

    def _complete(self, batch: list[_Request]) -> None:
        """Set the result of each request; after a failure each is computed by itself."""
        try:
            rows = self._score([pixels for request in batch for pixels in request.prepared])
        except PredictionFailed as error:
            if len(batch) == 1:
                batch[0].result.set_exception(error)
            else:
                for request in batch:
                    self._complete([request])
            return
        done = 0
        for request in batch:
            request.result.set_result(rows[done : done + len(request.prepared)])
            done += len(request.prepared)


class UnbatchedClassifier(QueuedClassifier):
    """Classifier over a backend that several threads may call: each caller's thread computes."""

    _active = 0  # requests that wait or are computed

    @property
    def waiting(self) -> int:
        """Requests beyond those that may compute at once."""
        return max(0, self._active - self._backend.max_concurrency)

    @property
    def max_in_flight(self) -> int:
        """See `Classifier.max_in_flight`."""
        return in_flight_unbatched(self._backend.max_concurrency)

    def _schedule(self, prepared: Sequence[Pixels]) -> NDArray[np.float64]:
        with self._lock:
            self._check_queue_limit(self.waiting)
            self._active += 1
        try:
            with self.cpu_slots.acquire(Priority.REQUEST):
                return self._score(prepared)
        finally:
            with self._lock:
                self._active -= 1
