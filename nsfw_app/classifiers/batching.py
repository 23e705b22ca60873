"""Many callers, one network: whatever waits while it computes becomes its next batch.

What always holds: a lone caller waits for nobody; only so many images wait, and one too many is
told to come back instead of joining a backlog; a picture that the network fails on takes no other
with it.
"""

import logging
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nsfw_app.classifiers import Network, Pixels
from nsfw_app.errors import Overloaded, PredictionFailed

log = logging.getLogger(__name__)

MAX_BATCH = 8  # pictures; beyond this neither network gains speed on a CPU
RETRY_AFTER_S = 1  # a full queue of a quick network is worked off in about that
UNFORESEEN = "The model ended without an answer; the log tells why."


@dataclass(frozen=True, slots=True)
class _Waiting:
    """Prepared pictures of one caller, and where the answer goes."""

    pixels: Sequence[Pixels]
    answer: Future[NDArray[np.float64]] = field(default_factory=Future)


class Batcher:
    """A classifier over a network; see the module.

    Args:
        network: What computes.
        max_waiting: Images that may wait, each with all its pictures; who comes when so many do
            is turned away.
        max_batch: Pictures computed at once.
    """

    def __init__(self, network: Network, *, max_waiting: int, max_batch: int = MAX_BATCH) -> None:
        self._network = network
        self.identity = network.identity
        self.roles = network.roles
        self.glances = network.glances
        self._max_waiting = max_waiting
        self.max_batch = max_batch
        self._waiting: deque[_Waiting] = deque()
        self._lock = threading.Lock()
        self._workers = ThreadPoolExecutor(network.lanes, thread_name_prefix="batcher")

    @property
    def waiting(self) -> int:
        """Images that wait for the network now."""
        with self._lock:
            return len(self._waiting)

    def predict(self, images: Sequence[Image.Image]) -> list[dict[str, float]]:
        """See `Classifier.predict`."""
        if not images:
            return []
        mine = _Waiting([self._network.prepare(image) for image in images])
        with self._lock:
            if len(self._waiting) >= self._max_waiting:
                raise Overloaded(
                    f"{self._max_waiting} images are waiting for the model already. "
                    "Try again in a moment.",
                    retry_after_s=RETRY_AFTER_S,
                )
            self._waiting.append(mine)
        self._workers.submit(self._turn).add_done_callback(_tell_unforeseen)
        rows = mine.answer.result()
        return [dict(zip(self.roles, map(float, row), strict=True)) for row in rows]

    def _turn(self) -> None:
        """Answer those who wait longest; the turns of the others find nothing left to do."""
        batch = self._next()
        try:
            self._answer(batch)
        finally:
            for waiting in batch:
                if not waiting.answer.done():
                    waiting.answer.set_exception(PredictionFailed(UNFORESEEN))

    def _next(self) -> list[_Waiting]:
        """As many as fit; one caller's pictures stay together."""
        batch: list[_Waiting] = []
        size = 0
        with self._lock:
            while self._waiting and (
                not batch or size + len(self._waiting[0].pixels) <= self.max_batch
            ):
                batch.append(self._waiting.popleft())
                size += len(batch[-1].pixels)
        return batch

    def _answer(self, batch: list[_Waiting]) -> None:
        if not batch:
            return
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

    def _score(self, pixels: Sequence[Pixels]) -> NDArray[np.float64]:
        parts = [
            self._network.score(np.stack(pixels[start : start + self.max_batch]))
            for start in range(0, len(pixels), self.max_batch)
        ]
        return np.concatenate(parts)


def _tell_unforeseen(turn: Future[None]) -> None:
    if error := turn.exception():
        log.error("The network raised what it should not.", exc_info=error)
