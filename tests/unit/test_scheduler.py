"""One network for many callers: the same answers, and never a growing backlog.

First what batches promise, then callers that compute for themselves.
"""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from nsfw_app.concurrency import CpuSlots
from nsfw_app.errors import Overloaded, PredictionFailed
from nsfw_app.models.classifier import DownscaleRule, Pixels
from nsfw_app.models.scheduler import MAX_BATCH, DynamicBatcher, UnbatchedClassifier
from nsfw_app.records import LabelRole, ModelIdentity

PATIENCE_SECONDS = 10
BAD = 255  # the red of a picture that the network fails on


class SlowBackend:
    """Takes its score from the red of a picture, and begins a batch only when it may."""

    identity = ModelIdentity("slow", "r1", "f" * 64, "test")
    roles: Mapping[str, LabelRole] = {"normal": LabelRole.SAFE, "nsfw": LabelRole.UNSAFE}

    max_concurrency = 1
    supports_batching = True
    downscale_rules = (DownscaleRule(4, 0.02), DownscaleRule(8, 0.04))

    def __init__(self, fail: Callable[[], Exception] | None = None) -> None:
        self.fail = fail
        self.batches: list[int] = []
        self.begun = threading.Event()
        self.may_go = threading.Event()
        self.may_go.set()

    def prepare(self, image: Image.Image) -> Pixels:
        """The red of the first pixel."""
        return np.array([image.getpixel((0, 0))[0]], dtype=np.float32)

    def score(self, batch: Pixels) -> NDArray[np.float64]:
        """The red over 255."""
        self.batches.append(len(batch))
        self.begun.set()
        assert self.may_go.wait(PATIENCE_SECONDS)
        if self.fail and BAD in batch:
            raise self.fail()
        red = batch[:, 0].astype(np.float64) / 255
        return np.stack([1 - red, red], axis=1)


def pictures(*reds: int) -> list[Image.Image]:
    """Plain pictures."""
    return [Image.new("RGB", (2, 2), (red, 0, 0)) for red in reds]


def scores(batcher: DynamicBatcher | UnbatchedClassifier, *reds: int) -> list[float]:
    """What the network says of pictures, times 255."""
    return [round(answer["nsfw"] * 255, 3) for answer in batcher.predict(pictures(*reds))]


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that other threads bring about."""
    waited = threading.Event()
    for _ in range(1_000):
        if condition():
            return
        waited.wait(0.01)
    raise AssertionError("it never came")


def waiting(cpu_slots: CpuSlots) -> int:
    """How many wait for a core."""
    return len(cpu_slots._urgent._waiters) + len(cpu_slots._others._waiters)


@pytest.mark.parametrize("kind", [DynamicBatcher, UnbatchedClassifier])
def test_everyone_gets_their_own_answer(kind: type[DynamicBatcher | UnbatchedClassifier]) -> None:
    """Many callers at once are answered in their order, as one by one."""
    classifier = kind(SlowBackend(), max_waiting=1_000)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda red: scores(classifier, red, red // 2), range(200)))
    assert answers == [[red, red // 2] for red in range(200)]


def test_a_lone_caller_waits_for_nobody() -> None:
    """One picture is one batch, at once."""
    network = SlowBackend()
    assert scores(DynamicBatcher(network, max_waiting=1), 7) == [7]
    assert network.batches == [1]


def test_what_waits_becomes_one_batch() -> None:
    """Pictures that arrive while the network computes are computed together."""
    network = SlowBackend()
    batcher = DynamicBatcher(network, max_waiting=100)
    network.may_go.clear()
    with ThreadPoolExecutor(20) as pool:
        first = pool.submit(scores, batcher, 1)
        assert network.begun.wait(PATIENCE_SECONDS)
        others = [pool.submit(scores, batcher, red) for red in range(10)]
        until(lambda: batcher.waiting == 10)
        network.may_go.set()
        assert first.result() == [1]
        assert [other.result() for other in others] == [[red] for red in range(10)]
    assert network.batches == [1, MAX_BATCH, 2]


@pytest.mark.parametrize("kind", [DynamicBatcher, UnbatchedClassifier])
def test_a_long_animation_is_cut_into_batches(
    kind: type[DynamicBatcher | UnbatchedClassifier],
) -> None:
    """No batch is larger than the limit, also for a single caller."""
    network = SlowBackend()
    assert scores(kind(network, max_waiting=1), *range(20)) == list(range(20))
    assert max(network.batches) == MAX_BATCH


def test_one_too_many_is_turned_away() -> None:
    """With the queue full a caller is told when to come back, and those who wait are answered."""
    network = SlowBackend()
    batcher = DynamicBatcher(network, max_waiting=3)
    network.may_go.clear()
    with ThreadPoolExecutor(20) as pool:
        running = pool.submit(scores, batcher, 1)
        assert network.begun.wait(PATIENCE_SECONDS)
        waiting = [pool.submit(scores, batcher, red) for red in range(3)]
        until(lambda: batcher.waiting == 3)
        with pytest.raises(Overloaded, match="3 images are waiting") as refused:
            batcher.predict(pictures(9))
        assert refused.value.retry_after_s >= 1
        network.may_go.set()
        assert [w.result() for w in (running, *waiting)] == [[1], [0], [1], [2]]
    assert scores(batcher, 9) == [9]


def test_a_picture_that_fails_takes_no_other_with_it() -> None:
    """In a batch with one bad picture everyone else is answered."""
    network = SlowBackend(lambda: PredictionFailed("Not this one."))
    batcher = DynamicBatcher(network, max_waiting=100)
    network.may_go.clear()
    with ThreadPoolExecutor(20) as pool:
        first = pool.submit(scores, batcher, 1)
        assert network.begun.wait(PATIENCE_SECONDS)
        others = [pool.submit(scores, batcher, red) for red in (5, BAD, 6)]
        until(lambda: batcher.waiting == 3)
        network.may_go.set()
        assert (first.result(), others[0].result(), others[2].result()) == ([1], [5], [6])
        with pytest.raises(PredictionFailed, match="Not this one"):
            others[1].result()


@pytest.mark.parametrize("kind", [DynamicBatcher, UnbatchedClassifier])
def test_what_nobody_foresaw_leaves_nobody_waiting(
    kind: type[DynamicBatcher | UnbatchedClassifier], caplog: pytest.LogCaptureFixture
) -> None:
    """A network that raises what it should not is logged, and goes on to the next."""
    classifier = kind(SlowBackend(lambda: KeyError("surprise")), max_waiting=9)
    with pytest.raises(PredictionFailed, match="without an answer"):
        classifier.predict(pictures(BAD))
    assert scores(classifier, 8) == [8]
    assert classifier.waiting == 0
    assert "surprise" in caplog.text


@pytest.mark.parametrize("kind", [DynamicBatcher, UnbatchedClassifier])
def test_no_pictures(kind: type[DynamicBatcher | UnbatchedClassifier]) -> None:
    """Nothing asked, nothing computed."""
    network = SlowBackend()
    assert kind(network, max_waiting=1).predict([]) == []
    assert network.batches == []


class WideNetwork(SlowBackend):
    """May be called by two threads at once."""

    max_concurrency = 2


def test_callers_compute_for_themselves_as_many_as_there_are_cores() -> None:
    """Two at once, each their own batch; the others wait, and one too many is turned away."""
    network = WideNetwork()
    direct = UnbatchedClassifier(network, max_waiting=3)
    network.may_go.clear()
    with ThreadPoolExecutor(20) as pool:
        others = [pool.submit(scores, direct, red) for red in range(5)]
        until(lambda: direct.waiting == 3)
        until(lambda: network.batches == [1, 1])
        with pytest.raises(Overloaded, match="3 images are waiting"):
            direct.predict(pictures(9))
        assert network.batches == [1, 1], "no more than two compute"
        network.may_go.set()
        assert [other.result() for other in others] == [[red] for red in range(5)]
    assert direct.waiting == 0
    assert scores(direct, 9) == [9]


@pytest.mark.parametrize("kind", [DynamicBatcher, UnbatchedClassifier])
def test_decoding_and_the_network_share_the_cores(
    kind: type[DynamicBatcher | UnbatchedClassifier],
) -> None:
    """While somebody decodes with the only core the network waits for it."""
    cpu_slots = CpuSlots(1)
    network = SlowBackend()
    classifier = kind(network, max_waiting=9, cpu_slots=cpu_slots)
    with ThreadPoolExecutor(1) as pool:
        with cpu_slots.acquire():
            asked = pool.submit(scores, classifier, 1)
            until(lambda: waiting(cpu_slots) == 1)
            assert network.batches == []
        assert asked.result() == [1]


def test_those_in_a_hurry_go_first() -> None:
    """Of those who wait for a core, the priority one has it next, though it came last."""
    order = []
    cpu_slots = CpuSlots(1)

    def work(priority: bool) -> None:
        with cpu_slots.acquire(priority=priority):
            order.append(priority)

    with ThreadPoolExecutor(4) as pool, cpu_slots.acquire():
        for number, priority in enumerate([False, False, True], start=1):
            pool.submit(work, priority)
            until(lambda: waiting(cpu_slots) == number)  # noqa: B023
    assert order == [True, False, False]


def test_a_core_comes_back_after_an_error() -> None:
    """Whatever happens while one has it."""
    cpu_slots = CpuSlots(1)
    for _ in range(2):
        with pytest.raises(KeyError), cpu_slots.acquire():
            raise KeyError
    with cpu_slots.acquire():
        pass
