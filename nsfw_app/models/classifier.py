"""Interfaces of models: `Model`, `Backend` (computes batches), `Classifier` (safe to share).

Every backend keeps these promises; one suite of tests checks all of them:

- Results come in the order of the images.
- A batch gives the same probabilities as its images one by one.
- The probabilities of an image sum to 1.
"""

import hashlib
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nsfw_app.concurrency import CpuSlots, Priority
from nsfw_app.errors import PredictionFailed
from nsfw_app.records import LabelRole, ModelIdentity

# OpenVINO and NNCF send usage telemetry through this package; without it they cannot.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

Pixels = NDArray[Any]  # a prepared image or a batch of them: 32-bit floats or 8-bit integers
Box = tuple[float, float, float, float]  # left, top, right, bottom in [0, 1] of width and height


@dataclass(frozen=True, slots=True)
class DownscaleRule:
    """When the score of a JPEG that was decoded at reduced scale is used.

    Its shorter side has at least `min_side` pixels, and the nsfw score is below `max_score`.
    """

    min_side: int
    max_score: float


class Model(Protocol):
    """Loaded weights. `roles` holds every label in the model's order."""

    @property
    def identity(self) -> ModelIdentity:
        """Model, revision, weights and backend, as stored with every prediction."""
        ...

    @property
    def roles(self) -> Mapping[str, LabelRole]:
        """Whether each label is safe or unsafe."""
        ...

    @property
    def downscale_rules(self) -> Sequence[DownscaleRule]:
        """When reduced scale is enough, `min_side` and `max_score` both rising; empty: never."""
        ...


class Backend(Model, Protocol):
    """Computes a model: prepares images in any thread and scores batches of them."""

    @property
    def max_concurrency(self) -> int:
        """How many threads may call `score` at once."""
        ...

    @property
    def supports_batching(self) -> bool:
        """Whether a batch of images is faster than each caller's thread computing its own."""
        ...

    def prepare(self, image: Image.Image) -> Pixels:
        """The model's input for an image. Thread-safe.

        Args:
            image: RGB, upright, of any size.

        Returns:
            Always of the same shape, without a batch dimension.
        """
        ...

    def visible_box(self, size: tuple[int, int]) -> Box:
        """The part of an image that is stretched to the model's input; the rest is cropped.

        Beyond the image's sides, below 0 and above 1, it is a margin that the model adds.

        Args:
            size: The image's width and height in pixels.
        """
        ...

    def score(self, batch: Pixels) -> NDArray[np.float64]:
        """Probabilities. Called by at most `max_concurrency` threads at a time.

        Args:
            batch: Prepared images, shape (n, ...).

        Returns:
            Shape (n, labels), each row in the order of `roles` and summing to 1.

        Raises:
            PredictionFailed: The model failed on this batch.
        """
        ...


@runtime_checkable
class Attributing(Protocol):
    """A backend that may explain a score from within the model."""

    def attribution(self, prepared: Pixels) -> NDArray[np.float64] | None:
        """How much each patch of a prepared image adds to its nsfw score.

        Returns:
            Shape (rows, columns) of patches, at least 0; None where this model has none.

        Raises:
            PredictionFailed: The model failed on it.
        """
        ...


class Classifier(Model, Protocol):
    """A thread-safe model with a bounded queue."""

    @property
    def cpu_slots(self) -> CpuSlots:
        """The CPU threads that it shares with decoding."""
        ...

    @property
    def max_in_flight(self) -> int:
        """Images to submit at once to keep it busy."""
        ...

    @property
    def waiting(self) -> int:
        """Images that wait for it now."""
        ...

    def predict(self, images: Sequence[Image.Image]) -> list[dict[str, float]]:
        """Probabilities of every label.

        Args:
            images: RGB, upright, of any size.

        Returns:
            One mapping per image, in the same order: label to probability in [0, 1], summing to 1.

        Raises:
            PredictionFailed: The model failed.
            Overloaded: Too many images are waiting for it.
        """
        ...

    def prepare(self, image: Image.Image) -> Pixels:
        """See `Backend.prepare`."""
        ...

    def visible_box(self, size: tuple[int, int]) -> Box:
        """See `Backend.visible_box`."""
        ...

    def predict_prepared(
        self, prepared: Sequence[Pixels], *, priority: Priority = Priority.REQUEST
    ) -> list[dict[str, float]]:
        """See `predict`; takes images that `prepare` has returned.

        With the priority `BACKGROUND`, all other work goes first, and no queue limit applies.
        """
        ...

    def attribution(self, prepared: Pixels) -> NDArray[np.float64] | None:
        """See `Attributing.attribution`; None where the backend has none. In the background."""
        ...


def nsfw_score(probabilities: Mapping[str, float], roles: Mapping[str, LabelRole]) -> float:
    """The sum of the unsafe labels' probabilities, in [0, 1].

    Raises:
        PredictionFailed: A probability is not a number.
    """
    if not all(map(math.isfinite, probabilities.values())):
        raise PredictionFailed("The model returned a probability that is not a number.")
    unsafe = sum(p for label, p in probabilities.items() if roles[label] is LabelRole.UNSAFE)
    return min(1.0, max(0.0, unsafe))


def weights_sha256(files: Iterable[Path]) -> str:
    """The SHA-256 of weight files, concatenated in the order of their names."""
    digest = hashlib.sha256()
    for path in sorted(files, key=lambda p: p.name):
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()
