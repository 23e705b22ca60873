"""The loading thread: its status while it runs and after each outcome."""

import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue

import pytest

from nsfw_app.errors import ModelError, ModelLoading, ModelNotFound, NotFound
from nsfw_app.models.loader import Loaded, ModelLoader, ModelState
from tests.support.fakes import FakeClassifier

Errors = SimpleQueue[BaseException | None]

TIMEOUT_S = 10


class SlowLoad:
    """A loading function that waits until the test releases it, and counts its calls."""

    def __init__(self, end: Callable[[], Loaded]) -> None:
        self.end = end
        self.calls = 0
        self.started = threading.Event()
        self.released = threading.Event()

    def __call__(self) -> Loaded:
        """Count the call, wait, and return."""
        self.calls += 1
        self.started.set()
        assert self.released.wait(TIMEOUT_S)
        return self.end()


def failing(error: BaseException) -> Callable[[], Loaded]:
    """A loading function that raises an error."""

    def fail() -> Loaded:
        raise error

    return fail


@pytest.fixture
def uncaught(monkeypatch: pytest.MonkeyPatch) -> Errors:
    """Uncaught exceptions of threads, which would otherwise be printed."""
    errors: Errors = SimpleQueue()
    monkeypatch.setattr(threading, "excepthook", lambda args: errors.put(args.exc_value))
    return errors


def test_not_started() -> None:
    """A loader that was not started has the status loading, and loads nothing."""
    load = SlowLoad(lambda: Loaded(FakeClassifier()))
    loader = ModelLoader("fake", load)
    assert loader.status.state is ModelState.LOADING
    assert load.calls == 0


def test_loading_then_ready() -> None:
    """The status never waits: loading, then ready with the reason for a fallback."""
    classifier = FakeClassifier()
    load = SlowLoad(lambda: Loaded(classifier, "The hub is offline."))
    loader = ModelLoader("auto", load)
    loader.start()
    assert load.started.wait(TIMEOUT_S)
    assert loader.status.state is ModelState.LOADING
    assert loader.status.classifier is None
    with pytest.raises(ModelLoading, match="still loading"):
        _ = loader.classifier
    load.released.set()
    assert loader.wait() is classifier
    assert loader.classifier is classifier
    assert loader.status.state is ModelState.READY
    assert (loader.status.wanted, loader.status.message) == ("auto", "The hub is offline.")


def test_a_typed_error_is_kept() -> None:
    """A ModelError becomes the status, and every caller gets its sentence."""
    loader = ModelLoader("x/y", failing(ModelNotFound("No such model. Check the name.")))
    for get in (loader.wait, lambda: loader.classifier, loader.wait):
        with pytest.raises(ModelError, match=r"No such model\. Check the name\."):
            get()
    assert loader.status.state is ModelState.FAILED
    assert loader.status.message == "No such model. Check the name."


@pytest.mark.parametrize(
    ("error", "kind", "sentence"),
    [
        (ZeroDivisionError("bug"), "model_load_failed", "could not be loaded (ZeroDivisionError)"),
        (MemoryError(), "no_memory", "does not fit into this machine's memory"),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried"), "no_memory", "memory"),
        (ModuleNotFoundError("no", name="timm"), "model_library_missing", "a package 'timm'"),
        (NotFound("The store is gone."), "model_load_failed", "loaded: The store is gone."),
    ],
)
def test_any_exception_becomes_a_typed_error(
    error: Exception, kind: str, sentence: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Loading ends in a typed error; the log has its traceback."""
    caplog.set_level(logging.DEBUG, "nsfw_app")
    loader = ModelLoader("x/y", failing(error))
    with pytest.raises(ModelError) as caught:
        loader.wait()
    assert caught.value.kind == kind
    assert str(caught.value).startswith("'x/y' ")
    assert sentence in str(caught.value)
    assert (loader.status.state, loader.status.message) == (ModelState.FAILED, str(caught.value))
    (record,) = caplog.records
    assert (record.levelname, record.getMessage()) == ("ERROR", "Loading 'x/y' failed.")
    assert record.exc_info is not None
    assert record.exc_info[1] is error


def test_a_library_that_ends_the_thread(uncaught: Errors) -> None:
    """No caller waits forever: loading has failed, with a sentence that says why."""
    loader = ModelLoader("x/y", failing(KeyboardInterrupt()))
    with pytest.raises(ModelError, match="A library ended the loading"):
        loader.wait()
    assert isinstance(uncaught.get(timeout=TIMEOUT_S), KeyboardInterrupt)


def test_start_twice() -> None:
    """Starting again, from several threads or after it is done, loads nothing again."""
    load = SlowLoad(lambda: Loaded(FakeClassifier()))
    loader = ModelLoader("fake", load)
    starters = [threading.Thread(target=loader.start) for _ in range(8)]
    for starter in starters:
        starter.start()
    for starter in starters:
        starter.join()
    load.released.set()
    first = loader.wait()
    loader.start()
    assert loader.wait() is first
    assert load.calls == 1


def test_all_waiting_threads_get_the_classifier() -> None:
    """The model is loaded once for all of them."""
    load = SlowLoad(lambda: Loaded(FakeClassifier()))
    loader = ModelLoader("fake", load)
    got: list[object] = []
    waiting = [threading.Thread(target=lambda: got.append(loader.wait())) for _ in range(4)]
    for thread in waiting:
        thread.start()
    load.released.set()
    for thread in waiting:
        thread.join(TIMEOUT_S)
    assert got == [loader.classifier] * 4
    assert load.calls == 1
