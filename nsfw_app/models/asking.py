"""What is asked of a network, and how its answers are told, whoever computes them."""

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nsfw_app.concurrency import CpuSlots
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
