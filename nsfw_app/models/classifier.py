"""What every model looks like from outside. One file here per backend.

All backends keep the same promises: answers come in the order of the images, a batch gives what
its images would give one by one, and the probabilities of an image sum to 1.
"""

import hashlib
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nsfw_app.concurrency import CpuSlots
from nsfw_app.errors import PredictionFailed
from nsfw_app.records import LabelRole, ModelIdentity

# OpenVINO and NNCF would tell their makers of each use; without this package they cannot.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

Pixels = NDArray[Any]  # 32-bit floats or 8-bit, as the network takes them


@dataclass(frozen=True, slots=True)
class DownscaleRule:
    """When the score of a JPEG that was decoded at reduced scale counts.

    Its shorter side has at least `min_side` pixels, and the nsfw score is below `max_score`.
    """

    min_side: int
    max_score: float


class Model(Protocol):
    """Loaded weights. `roles` holds every label in the model's order."""

    @property
    def identity(self) -> ModelIdentity:
        """Which weights these are."""
        ...

    @property
    def roles(self) -> Mapping[str, LabelRole]:
        """Whether each label is safe or unsafe."""
        ...

    @property
    def downscale_rules(self) -> Sequence[DownscaleRule]:
        """When reduced scale is enough: `pixels` and `below` both rising; none for never."""
        ...


class Backend(Model, Protocol):
    """A backend: what a picture is turned into, in any thread, and what is computed from that."""

    @property
    def max_concurrency(self) -> int:
        """How many threads may call it at once."""
        ...

    @property
    def supports_batching(self) -> bool:
        """Whether pictures are better computed together than by whoever brings each."""
        ...

    def prepare(self, image: Image.Image) -> Pixels:
        """What the network takes of a picture. Several threads may prepare at once.

        Args:
            image: RGB, upright, of any size.

        Returns:
            Always of the same shape, without a batch dimension.
        """
        ...

    def score(self, batch: Pixels) -> NDArray[np.float64]:
        """Probabilities. Called by at most `max_concurrency` threads at a time.

        Args:
            batch: Prepared pictures, shape (n, ...).

        Returns:
            Shape (n, labels), each row in the order of `roles` and summing to 1.

        Raises:
            PredictionFailed: The network could not answer.
        """
        ...


class Classifier(Model, Protocol):
    """A model that can be asked from any thread."""

    @property
    def cpu_slots(self) -> CpuSlots:
        """The CPU threads that it shares with whoever makes pictures ready for it."""
        ...

    @property
    def max_in_flight(self) -> int:
        """Images that are under way at once when it is kept busy."""
        ...

    @property
    def waiting(self) -> int:
        """Images that wait to be judged now."""
        ...

    def predict(self, images: Sequence[Image.Image]) -> list[dict[str, float]]:
        """Probabilities of every label.

        Args:
            images: RGB pictures, upright, of any size.

        Returns:
            One mapping per image, in the same order: label to probability in [0, 1], summing to 1.

        Raises:
            PredictionFailed: The model could not answer.
            Overloaded: Too many images are waiting for it.
        """
        ...

    def prepare(self, image: Image.Image) -> Pixels:
        """See `Backend.prepare`."""
        ...

    def predict_prepared(self, pictures: Sequence[Pixels]) -> list[dict[str, float]]:
        """The same of pictures that `prepare` has made ready."""
        ...


def nsfw_score(probabilities: Mapping[str, float], roles: Mapping[str, LabelRole]) -> float:
    """The sum of the unsafe labels' probabilities, in [0, 1].

    Raises:
        PredictionFailed: A probability is not a number.
    """
    if not all(map(math.isfinite, probabilities.values())):
        raise PredictionFailed("The model's answer for the image is not a number.")
    unsafe = sum(p for label, p in probabilities.items() if roles[label] is LabelRole.UNSAFE)
    return min(1.0, max(0.0, unsafe))


def weights_sha256(files: Iterable[Path]) -> str:
    """The SHA-256 of weight files, read in the order of their names as one."""
    digest = hashlib.sha256()
    for path in sorted(files, key=lambda p: p.name):
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()
