"""How many times as fast as another a network is, measured so that noise does not decide.

Both compute the same batch directly one after the other, in turns of which is first, and the median
of the ratios counts. What else the machine does meets both, or only some of the pairs.
"""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle, islice
from math import ceil
from statistics import median

import numpy as np
from PIL import Image

from nsfw_app.models.classifier import Backend, Pixels

BATCH = 8  # images in each measurement
SHORTEST_S = 0.05  # of a measurement; what a clock or a scheduler adds is little beside it
PAIRS = 5  # measurements of each network, of which the median counts


@dataclass(frozen=True, slots=True)
class Speed:
    """Medians of paired measurements: of the ratio, and of each network's images per second."""

    speedup: float
    images_per_s: float
    original_images_per_s: float


def compare_speed(
    original: Backend, other: Backend, images: Sequence[Image.Image], *, pairs: int = PAIRS
) -> Speed:
    """Measure two networks with the same images; preparing them is not counted.

    Args:
        original: What the other is compared with.
        other: The network that may be faster.
        images: RGB, at least one.
        pairs: How many times each computes a batch.
    """
    chosen = list(islice(cycle(images), BATCH))
    networks = (original, other)
    batches = [[network.prepare(image) for image in chosen] for network in networks]
    repeats = 1
    for network, batch in zip(networks, batches, strict=True):
        _seconds(network, batch, 1)  # the first time, runtimes allocate
        repeats = max(repeats, ceil(SHORTEST_S / max(_seconds(network, batch, 1), 1e-6)))
    taken: list[tuple[float, float]] = []
    for number in range(pairs):
        order = (0, 1) if number % 2 else (1, 0)
        seconds = {which: _seconds(networks[which], batches[which], repeats) for which in order}
        taken.append((seconds[0], seconds[1]))
    measured = BATCH * repeats
    return Speed(
        speedup=round(median(one / two for one, two in taken), 2),
        images_per_s=round(measured / median(two for _, two in taken), 2),
        original_images_per_s=round(measured / median(one for one, _ in taken), 2),
    )


def _seconds(network: Backend, batch: Sequence[Pixels], repeats: int) -> float:
    """How long a network takes for a batch several times, in as many threads as may call it."""
    if network.max_concurrency == 1:
        stacked = np.stack(batch)
        begun = time.perf_counter()
        for _ in range(repeats):
            network.score(stacked)
        return time.perf_counter() - begun
    with ThreadPoolExecutor(network.max_concurrency) as pool:
        list(pool.map(lambda _: None, range(network.max_concurrency)))  # starts the threads
        begun = time.perf_counter()
        list(pool.map(lambda pixels: network.score(pixels[None]), [*batch] * repeats))
        return time.perf_counter() - begun
