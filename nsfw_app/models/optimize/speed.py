"""Speed of one backend relative to another, measured so that noise does not decide.

Both compute the same batch in pairs, one directly after the other, alternating which is first. The
pair with the median ratio counts: other load on the machine meets both backends of a pair, or only
some of the pairs.
"""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle, islice
from math import ceil

import numpy as np
from PIL import Image

from nsfw_app.models.classifier import Backend, Pixels

BATCH = 8  # images in each measurement
MIN_MEASUREMENT_S = 0.05  # overhead of clock and thread scheduling is small next to it
PAIRS = 5  # measurements of each backend


@dataclass(frozen=True, slots=True)
class Speed:
    """Images per second of two backends in one pair of measurements, and their quotient.

    `speedup` is exactly `images_per_s / original_images_per_s`, rounded to two decimals.
    """

    speedup: float
    images_per_s: float
    original_images_per_s: float

    @classmethod
    def of_rates(cls, images_per_s: float, original_images_per_s: float) -> "Speed":
        """Round both rates to four significant digits, and divide the rounded ones."""
        rate, original = (float(f"{value:.4g}") for value in (images_per_s, original_images_per_s))
        return cls(round(rate / original, 2), rate, original)

    def summary(self) -> str:
        """The measured speed, as the continuation of a sentence about the optimized model."""
        return (
            f"{self.speedup:.2f} times as fast as the original in 32-bit floats "
            f"({self.images_per_s:g} and {self.original_images_per_s:g} images a second)"
        )


def compare_speed(
    original: Backend, other: Backend, images: Sequence[Image.Image], *, pairs: int = PAIRS
) -> Speed:
    """Measure two backends with the same images; preparing them is not counted.

    Args:
        original: The backend to compare with.
        other: The backend that may be faster.
        images: RGB, at least one.
        pairs: How many times each computes a batch.
    """
    batch = list(islice(cycle(images), BATCH))
    backends = (original, other)
    batches = [[backend.prepare(image) for image in batch] for backend in backends]
    repeats = 1
    for backend, prepared in zip(backends, batches, strict=True):
        _seconds(backend, prepared, 1)  # runtimes allocate memory in the first run
        repeats = max(repeats, ceil(MIN_MEASUREMENT_S / max(_seconds(backend, prepared, 1), 1e-6)))
    measured: list[tuple[float, float]] = []
    for number in range(pairs):
        order = (0, 1) if number % 2 else (1, 0)
        seconds = {which: _seconds(backends[which], batches[which], repeats) for which in order}
        measured.append((seconds[0], seconds[1]))
    measured.sort(key=lambda pair: pair[0] / pair[1])
    original_s, other_s = measured[len(measured) // 2]
    return Speed.of_rates(BATCH * repeats / other_s, BATCH * repeats / original_s)


def _seconds(backend: Backend, batch: Sequence[Pixels], repeats: int) -> float:
    """How long a backend takes for a batch several times, in as many threads as may call it."""
    if backend.max_concurrency == 1:
        stacked = np.stack(batch)
        start = time.perf_counter()
        for _ in range(repeats):
            backend.score(stacked)
        return time.perf_counter() - start
    with ThreadPoolExecutor(backend.max_concurrency) as pool:
        list(pool.map(lambda _: None, range(backend.max_concurrency)))  # starts the threads
        start = time.perf_counter()
        list(pool.map(lambda pixels: backend.score(pixels[None]), [*batch] * repeats))
        return time.perf_counter() - start
