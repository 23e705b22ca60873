"""Relative speed of two backends, robust against other load on the machine."""

import re
from collections.abc import Iterator, Mapping
from itertools import chain, repeat
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from nsfw_app.models.classifier import Pixels
from nsfw_app.models.optimize import speed
from nsfw_app.models.optimize.speed import BATCH, PAIRS, Speed, compare_speed
from nsfw_app.records import LabelRole, ModelIdentity

IMAGES = [Image.new("RGB", (8, 8))]


class Clock:
    """Time that passes only while a backend computes, and the order in which they did."""

    def __init__(self) -> None:
        self.now = 0.0
        self.order: list[str] = []

    def perf_counter(self) -> float:
        """See `time.perf_counter`."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Replaces the clock that speed is measured with."""
    clock = Clock()
    monkeypatch.setattr(speed, "time", SimpleNamespace(perf_counter=clock.perf_counter))
    return clock


class TimedBackend:
    """A backend whose calls take the given seconds."""

    identity = ModelIdentity("m", "r", "w", "b")
    roles: Mapping[str, LabelRole] = {}
    downscale_rules = ()
    supports_batching = True

    def __init__(
        self, name: str, clock: Clock, seconds: Iterator[float], max_concurrency: int = 1
    ) -> None:
        self.name, self.clock, self.seconds, self.max_concurrency = (
            name,
            clock,
            seconds,
            max_concurrency,
        )
        self.sizes: list[int] = []

    def prepare(self, image: Image.Image) -> Pixels:
        """See `Backend.prepare`."""
        return np.zeros(3)

    def score(self, batch: Pixels) -> NDArray[np.float64]:
        """See `Backend.score`."""
        self.clock.now += next(self.seconds)
        self.clock.order.append(self.name)
        self.sizes.append(len(batch))
        return np.zeros((len(batch), 2))


def test_the_median_pair_counts(clock: Clock) -> None:
    """Two of five measurements may be disturbed without effect."""
    original = TimedBackend("original", clock, chain([9.0] * 2, [1.0, 1.0, 7.0, 1.0, 1.0]))
    other = TimedBackend("other", clock, chain([9.0] * 2, [0.5, 4.0, 0.5, 0.5, 0.5]))
    found = compare_speed(original, other, IMAGES)
    assert found == Speed(2.0, 2 * BATCH, BATCH)
    assert PAIRS == 5
    assert original.sizes == other.sizes == [BATCH] * 7


def test_rates_and_ratio_are_of_the_same_pair(clock: Clock) -> None:
    """On a machine whose speed changes, the ratio is still the quotient of the rates shown."""
    original = TimedBackend("original", clock, chain([9.0] * 2, [1.0, 1.0, 8.0, 8.0, 8.0]))
    other = TimedBackend("other", clock, chain([9.0] * 2, [0.1, 0.2, 12.0, 13.0, 14.0]))
    found = compare_speed(original, other, IMAGES)
    assert found.speedup == round(found.images_per_s / found.original_images_per_s, 2) == 0.67


@pytest.mark.parametrize(
    ("rate", "original", "summary"),
    [
        (1131.34, 5820.51, "0.19 times as fast as the original in 32-bit floats (1131 and 5821"),
        (0.3449, 0.2401, "1.44 times as fast as the original in 32-bit floats (0.3449 and 0.2401"),
        (41.234, 5.2004, "7.93 times as fast as the original in 32-bit floats (41.23 and 5.2"),
    ],
)
def test_the_summary_is_true(rate: float, original: float, summary: str) -> None:
    """The quotient of the rates in the sentence is the speed-up in the sentence."""
    found = Speed.of_rates(rate, original)
    assert found.summary() == f"{summary} images a second)"
    speedup, rate, original = (
        float(n) for n in re.findall(r"\d+(?:\.\d+)?", found.summary()) if n != "32"
    )
    assert speedup == round(rate / original, 2)


def test_measurements_alternate(clock: Clock) -> None:
    """The two of a pair follow each other directly, and neither is always first."""
    backends = [TimedBackend(name, clock, repeat(1.0)) for name in ("original", "other")]
    compare_speed(*backends, IMAGES, pairs=2)
    assert clock.order[4:] == ["other", "original", "original", "other"]


def test_short_batches_are_repeated(clock: Clock) -> None:
    """A batch that takes a millisecond is computed fifty times per measurement."""
    original: Any = TimedBackend("original", clock, repeat(0.002))
    other: Any = TimedBackend("other", clock, repeat(0.001))
    found = compare_speed(original, other, IMAGES, pairs=1)
    assert found.speedup == 2.0
    assert found.images_per_s == pytest.approx(1000 * BATCH)
    assert 50 <= len(other.sizes) - 2 <= 51


def test_a_concurrent_backend_gets_single_images(clock: Clock) -> None:
    """Each thread computes one image at a time, as callers do."""
    original = TimedBackend("original", clock, repeat(1.0), max_concurrency=2)
    compare_speed(original, TimedBackend("other", clock, repeat(1.0)), IMAGES, pairs=1)
    assert set(original.sizes) == {1}
    assert len(original.sizes) == 3 * BATCH
