"""Durations of calls, and the throughput of a classifier."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice

import numpy as np
from PIL import Image

from nsfw_app.models.classifier import Classifier
from nsfw_app.settings import DEFAULT_BATCH_SIZE

CONCURRENT_CALLERS = 3 * DEFAULT_BATCH_SIZE  # two batches may be prepared while one is computed


def durations(call: Callable[[], object], seconds: float) -> list[float]:
    """Duration of each call in seconds, after one call to warm up; at least one is measured."""
    call()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return times


def percentile_ms(times: Sequence[float], share: float) -> float:
    """A percentile of times in seconds, in milliseconds."""
    return round(1e3 * float(np.percentile(times, share)), 2)


def images_per_s(classifier: Classifier, images: Sequence[Image.Image], seconds: float) -> float:
    """Throughput on decoded images, with enough concurrent callers to fill every batch."""
    classifier.predict(list(islice(cycle(images), DEFAULT_BATCH_SIZE)))
    end = time.perf_counter() + seconds

    def run_caller(first: int) -> int:
        own, done = islice(cycle(images), first, None), 0
        while time.perf_counter() < end:
            classifier.predict([next(own)])
            done += 1
        return done

    start = time.perf_counter()
    with ThreadPoolExecutor(CONCURRENT_CALLERS) as pool:
        done = sum(pool.map(run_caller, range(CONCURRENT_CALLERS)))
    return done / (time.perf_counter() - start)
