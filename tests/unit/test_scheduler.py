"""Schedulers: concurrent callers get the results of single ones, and no backlog grows."""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from nsfw_app.concurrency import CpuSlots, Priority
from nsfw_app.errors import Overloaded, PredictionFailed
from nsfw_app.models.classifier import DownscaleRule, Pixels
from nsfw_app.models.scheduler import DynamicBatcher, UnbatchedClassifier
from nsfw_app.records import LabelRole, ModelIdentity
from nsfw_app.settings import DEFAULT_BATCH_SIZE

TIMEOUT_S = 10
BAD = 255  # the red of an image that the backend fails on


class SlowBackend:
    """The score is the red of an image; a batch waits until the test releases it."""

    identity = ModelIdentity("slow", "r1", "f" * 64, "test")
    roles: Mapping[str, LabelRole] = {"normal": LabelRole.SAFE, "nsfw": LabelRole.UNSAFE}

    max_concurrency = 1
    supports_batching = True
    downscale_rules = (DownscaleRule(4, 0.02), DownscaleRule(8, 0.04))

    def __init__(self, fail: Callable[[], Exception] | None = None) -> None:
        self.fail = fail
        self.batches: list[int] = []
        self.started = threading.Event()
        self.released = threading.Event()
        self.released.set()

    def prepare(self, image: Image.Image) -> Pixels:
        """The red of the first pixel."""
        return np.array([image.getpixel((0, 0))[0]], dtype=np.float32)

    def score(self, batch: Pixels) -> NDArray[np.float64]:
        """The red over 255."""
        self.batches.append(len(batch))
        self.started.set()
        assert self.released.wait(TIMEOUT_S)
        if self.fail and BAD in batch:
            raise self.fail()
        red = batch[:, 0].astype(np.float64) / 255
        return np.stack([1 - red, red], axis=1)


def plain_images(*reds: int) -> list[Image.Image]:
    """Images of one color."""
    return [Image.new("RGB", (2, 2), (red, 0, 0)) for red in reds]


def scores(batcher: DynamicBatcher | UnbatchedClassifier, *reds: int) -> list[float]:
    """The scores of images, times 255."""
    return [round(row["nsfw"] * 255, 3) for row in batcher.predict(plain_images(*reds))]


def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition that other threads fulfill."""
    waited = threading.Event()
    for _ in range(1_000):
        if condition():
            return
        waited.wait(0.01)
    raise AssertionError("the condition was never true")


def waiting(cpu_slots: CpuSlots) -> int:
    """How many callers wait for a CPU slot."""
    return sum(cpu_slots._waiting.values())


@pytest.mark.parametrize("kind", [DynamicBatcher, UnbatchedClassifier])
def test_each_caller_gets_its_own_result(kind: type[DynamicBatcher | UnbatchedClassifier]) -> None:
    """Results of concurrent callers are those of single calls."""
    classifier = kind(SlowBackend(), max_waiting=1_000)
    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(lambda red: scores(classifier, red, red // 2), range(200)))
    assert results == [[red, red // 2] for red in range(200)]


def test_a_single_caller_does_not_wait() -> None:
    """One image is computed immediately, as a batch of one."""
    backend = SlowBackend()
    assert scores(DynamicBatcher(backend, max_waiting=1), 7) == [7]
    assert backend.batches == [1]


def test_waiting_requests_become_one_batch() -> None:
    """Images that arrive while the backend computes are its next batch."""
    backend = SlowBackend()
    batcher = DynamicBatcher(backend, max_waiting=100)
    backend.released.clear()
    with ThreadPoolExecutor(20) as pool:
        first = pool.submit(scores, batcher, 1)
        assert backend.started.wait(TIMEOUT_S)
        others = [pool.submit(scores, batcher, red) for red in range(10)]
        until(lambda: batcher.waiting == 10)
        backend.released.set()
        assert first.result() == [1]
        assert [other.result() for other in others] == [[red] for red in range(10)]
    assert backend.batches == [1, DEFAULT_BATCH_SIZE, 2]


@pytest.mark.parametrize("kind", [DynamicBatcher, UnbatchedClassifier])
def test_a_long_animation_is_split_into_batches(
    kind: type[DynamicBatcher | UnbatchedClassifier],
) -> None:
    """No batch exceeds the limit, also for a single caller."""
    backend = SlowBackend()
    assert scores(kind(backend, max_waiting=1), *range(20)) == list(range(20))
    assert max(backend.batches) == DEFAULT_BATCH_SIZE


def test_a_full_queue_rejects_the_next_request() -> None:
    """The error has the time to retry after; the requests in the queue are computed."""
    backend = SlowBackend()
    batcher = DynamicBatcher(backend, max_waiting=3)
    backend.released.clear()
    with ThreadPoolExecutor(20) as pool:
        running = pool.submit(scores, batcher, 1)
        assert backend.started.wait(TIMEOUT_S)
        waiting = [pool.submit(scores, batcher, red) for red in range(3)]
        until(lambda: batcher.waiting == 3)
        with pytest.raises(Overloaded, match="3 images are waiting") as rejected:
            batcher.predict(plain_images(9))
        assert rejected.value.retry_after_s >= 1
        backend.released.set()
        assert [w.result() for w in (running, *waiting)] == [[1], [0], [1], [2]]
    assert scores(batcher, 9) == [9]


def test_an_image_that_fails_fails_alone() -> None:
    """The other requests of its batch get their results."""
    backend = SlowBackend(lambda: PredictionFailed("Not this one."))
    batcher = DynamicBatcher(backend, max_waiting=100)
    backend.released.clear()
    with ThreadPoolExecutor(20) as pool:
        first = pool.submit(scores, batcher, 1)
        assert backend.started.wait(TIMEOUT_S)
        others = [pool.submit(scores, batcher, red) for red in (5, BAD, 6)]
        until(lambda: batcher.waiting == 3)
        backend.released.set()
        assert (first.result(), others[0].result(), others[2].result()) == ([1], [5], [6])
        with pytest.raises(PredictionFailed, match="Not this one"):
            others[1].result()


@pytest.mark.parametrize("kind", [DynamicBatcher, UnbatchedClassifier])
def test_an_unexpected_error_leaves_no_caller_waiting(
    kind: type[DynamicBatcher | UnbatchedClassifier], caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, and the next request is computed."""
    classifier = kind(SlowBackend(lambda: KeyError("surprise")), max_waiting=9)
    with pytest.raises(PredictionFailed, match="The model failed"):
        classifier.predict(plain_images(BAD))
    assert scores(classifier, 8) == [8]
    assert classifier.waiting == 0
    assert "surprise" in caplog.text


@pytest.mark.parametrize("kind", [DynamicBatcher, UnbatchedClassifier])
def test_no_images(kind: type[DynamicBatcher | UnbatchedClassifier]) -> None:
    """Without images nothing is computed."""
    backend = SlowBackend()
    assert kind(backend, max_waiting=1).predict([]) == []
    assert backend.batches == []


class ConcurrentBackend(SlowBackend):
    """Two threads may call it at once."""

    max_concurrency = 2


def test_unbatched_callers_compute_in_their_own_threads() -> None:
    """Two compute at once, each its own batch; others wait, and a full queue rejects."""
    backend = ConcurrentBackend()
    classifier = UnbatchedClassifier(backend, max_waiting=3)
    backend.released.clear()
    with ThreadPoolExecutor(20) as pool:
        others = [pool.submit(scores, classifier, red) for red in range(5)]
        until(lambda: classifier.waiting == 3)
        until(lambda: backend.batches == [1, 1])
        with pytest.raises(Overloaded, match="3 images are waiting"):
            classifier.predict(plain_images(9))
        assert backend.batches == [1, 1], "no more than two compute"
        backend.released.set()
        assert [other.result() for other in others] == [[red] for red in range(5)]
    assert classifier.waiting == 0
    assert scores(classifier, 9) == [9]


@pytest.mark.parametrize("kind", [DynamicBatcher, UnbatchedClassifier])
def test_decoding_and_the_model_share_cpu_slots(
    kind: type[DynamicBatcher | UnbatchedClassifier],
) -> None:
    """While decoding holds the only slot, the model waits for it."""
    cpu_slots = CpuSlots(1)
    backend = SlowBackend()
    classifier = kind(backend, max_waiting=9, cpu_slots=cpu_slots)
    with ThreadPoolExecutor(1) as pool:
        with cpu_slots.acquire():
            request = pool.submit(scores, classifier, 1)
            until(lambda: waiting(cpu_slots) == 1)
            assert backend.batches == []
        assert request.result() == [1]


def test_priority_goes_first() -> None:
    """Of the callers that wait for a slot, the highest priority is next, though it came last."""
    order = []
    cpu_slots = CpuSlots(1)
    came = [Priority.BACKGROUND, Priority.DECODING, Priority.DECODING, Priority.REQUEST]

    def work(priority: Priority) -> None:
        with cpu_slots.acquire(priority):
            order.append(priority)

    with ThreadPoolExecutor(4) as pool, cpu_slots.acquire():
        for number, priority in enumerate(came, start=1):
            pool.submit(work, priority)
            until(lambda: waiting(cpu_slots) == number)  # noqa: B023
    assert order == came[::-1]


def test_a_slot_is_released_after_an_error() -> None:
    """An exception in the block releases the slot."""
    cpu_slots = CpuSlots(1)
    for _ in range(2):
        with pytest.raises(KeyError), cpu_slots.acquire():
            raise KeyError
    with cpu_slots.acquire():
        pass


@pytest.mark.parametrize("kind", [DynamicBatcher, UnbatchedClassifier])
@pytest.mark.parametrize("slots", [1, 2])
def test_a_request_goes_before_the_next_batch_in_the_background(
    kind: type[DynamicBatcher | UnbatchedClassifier], slots: int
) -> None:
    """A request that arrives during a batch in the background waits for that one batch only."""
    backend = SlowBackend()
    cpu_slots = CpuSlots(slots)
    classifier = kind(backend, max_waiting=9, cpu_slots=cpu_slots)
    backend.released.clear()

    def in_background() -> None:
        prepared = [classifier.prepare(image) for image in plain_images(1, 2)]
        for _ in range(3):
            classifier.predict_prepared(prepared, priority=Priority.BACKGROUND)

    with ThreadPoolExecutor(2) as pool:
        background = pool.submit(in_background)
        assert backend.started.wait(TIMEOUT_S)
        wanted = pool.submit(scores, classifier, 7)
        slots_wanted = cpu_slots, classifier._backend_slots
        until(lambda: any(map(waiting, slots_wanted)) or len(backend.batches) == 2)
        backend.released.set()
        assert wanted.result() == [7]
        background.result()
    assert backend.batches == [2, 1, 2, 2]


def test_no_cpu_slot_is_held_while_the_backend_is_busy() -> None:
    """Work in the background that waits for the backend leaves the slots to decoding."""
    backend = SlowBackend()
    cpu_slots = CpuSlots(2)
    classifier = DynamicBatcher(backend, max_waiting=9, cpu_slots=cpu_slots)
    backend.released.clear()
    with ThreadPoolExecutor(2) as pool:
        request = pool.submit(scores, classifier, 7)
        assert backend.started.wait(TIMEOUT_S)
        prepared = [classifier.prepare(image) for image in plain_images(1)]
        background = pool.submit(
            classifier.predict_prepared, prepared, priority=Priority.BACKGROUND
        )
        until(lambda: waiting(classifier._backend_slots) == 1)
        with cpu_slots.acquire():  # as decoding does
            pass
        backend.released.set()
        assert request.result() == [7]
        assert len(background.result()) == 1


def test_the_background_fails_alone() -> None:
    """An error reaches the caller, and the slots are free again."""
    classifier = DynamicBatcher(SlowBackend(lambda: PredictionFailed("No.")), max_waiting=1)
    prepared = [classifier.prepare(image) for image in plain_images(BAD)]
    with pytest.raises(PredictionFailed, match=r"No\."):
        classifier.predict_prepared(prepared, priority=Priority.BACKGROUND)
    assert scores(classifier, 8) == [8]
