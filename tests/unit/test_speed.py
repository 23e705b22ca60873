"""How much faster one network is than another, whatever else the machine does meanwhile."""

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
from nsfw_app.models.optimize.speed import BATCH, PAIRS, compare_speed
from nsfw_app.records import LabelRole, ModelIdentity

IMAGES = [Image.new("RGB", (8, 8))]


class Clock:
    """Time that passes only while a network computes, and the order of who did."""

    def __init__(self) -> None:
        self.now = 0.0
        self.order: list[str] = []

    def perf_counter(self) -> float:
        """See `time.perf_counter`."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock that speed is measured with."""
    clock = Clock()
    monkeypatch.setattr(speed, "time", SimpleNamespace(perf_counter=clock.perf_counter))
    return clock


class Timed:
    """A network that takes so many seconds for each call, one after the other."""

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


def test_the_median_of_pairs_counts(clock: Clock) -> None:
    """Two of five measurements that are disturbed change nothing."""
    original = Timed("original", clock, chain([9.0] * 2, [1.0, 1.0, 7.0, 1.0, 1.0]))
    other = Timed("other", clock, chain([9.0] * 2, [0.5, 4.0, 0.5, 0.5, 0.5]))
    found = compare_speed(original, other, IMAGES)
    assert found == speed.Speed(2.0, 2 * BATCH, BATCH)
    assert PAIRS == 5
    assert original.sizes == other.sizes == [BATCH] * 7


def test_both_are_measured_in_turns(clock: Clock) -> None:
    """Each pair follows directly on each other, and neither is always first."""
    networks = [Timed(name, clock, repeat(1.0)) for name in ("original", "other")]
    compare_speed(*networks, IMAGES, pairs=2)
    assert clock.order[4:] == ["other", "original", "original", "other"]


def test_a_measurement_is_never_short(clock: Clock) -> None:
    """Where a batch takes a millisecond, it is computed fifty times."""
    original: Any = Timed("original", clock, repeat(0.002))
    other: Any = Timed("other", clock, repeat(0.001))
    found = compare_speed(original, other, IMAGES, pairs=1)
    assert found.speedup == 2.0
    assert found.images_per_s == pytest.approx(1000 * BATCH)
    assert 50 <= len(other.sizes) - 2 <= 51


def test_networks_that_several_threads_call(clock: Clock) -> None:
    """Each thread computes an image at a time, as callers do."""
    original = Timed("original", clock, repeat(1.0), max_concurrency=2)
    compare_speed(original, Timed("other", clock, repeat(1.0)), IMAGES, pairs=1)
    assert set(original.sizes) == {1}
    assert len(original.sizes) == 3 * BATCH
