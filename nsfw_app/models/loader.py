"""Which model runs, and when it is ready.

`auto` means Falconsai where it can be had, else the embedded model, and says why. A model asked
for by name is that model or an error. Loading happens beside the page, in one thread.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from nsfw_app.concurrency import CpuSlots
from nsfw_app.errors import ModelError, ModelLoadFailed, ModelLoading, ModelUnsupported
from nsfw_app.models.artifacts import ModelVersion
from nsfw_app.models.cards import FALCONSAI, OPEN_NSFW
from nsfw_app.models.checkpoints import load_errors
from nsfw_app.models.classifier import Backend, Classifier
from nsfw_app.models.hub import ModelFiles, fetch, find, find_here, unreachable
from nsfw_app.models.scheduler import MAX_BATCH, DynamicBatcher, UnbatchedClassifier
from nsfw_app.models.selection import AUTO, BackendConfig, open_backend, open_embedded


class ModelState(StrEnum):
    """Where loading stands."""

    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Loaded:
    """A classifier, and why it is not the one hoped for, or an empty text."""

    classifier: Classifier
    fallback_reason: str = ""


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """What the page says of the model. `message` is a sentence when there is something to say."""

    state: ModelState
    wanted: str
    classifier: Classifier | None = None
    message: str = ""
    error: ModelError | None = None


def load_classifier(
    model: str,
    *,
    revision: str,
    unsafe_labels: Sequence[str],
    threads: int,
    max_waiting: int,
    backends: BackendConfig | None = None,
    max_batch: int = MAX_BATCH,
) -> Loaded:
    """Load the model that the settings ask for.

    Args:
        model: `auto`, `open-nsfw`, a hub id or a directory.
        revision: Of a hub model.
        unsafe_labels: For labels that nobody knows.
        threads: CPU threads.
        max_waiting: Pictures that may wait for it.
        backends: What may compute a transformers model; None for torch in 32-bit floats.
        max_batch: Pictures computed at once.

    Raises:
        ModelError: A model asked for by name cannot be had or used.
    """

    def asked(network: Backend) -> Classifier:
        made = DynamicBatcher if network.supports_batching else UnbatchedClassifier
        cpu_slots = CpuSlots(threads)
        return made(network, max_waiting=max_waiting, max_batch=max_batch, cpu_slots=cpu_slots)

    def transformers_model(model: str, files: ModelFiles) -> Classifier:
        chosen: dict[str, Any] = {"unsafe_labels": unsafe_labels, "threads": threads}
        with load_errors(model):
            origin = ModelVersion.of_files(model, files)
            if backends is not None:
                return asked(open_backend(origin, files, backends, **chosen))
            from nsfw_app.models.backends.pytorch import (
                TransformersBackend,  # torch, only when needed
            )

            return asked(TransformersBackend(origin, files=files, **chosen))

    def embedded(reason: str = "") -> Loaded:
        if backends is not None and backends.is_named:  # that one or an error
            raise ModelUnsupported(
                reason or f"NSFW_BACKEND={backends.wanted} does not exist for {OPEN_NSFW}."
            )
        with load_errors(OPEN_NSFW):
            return Loaded(asked(open_embedded(backends, threads=threads)), reason)

    if model == OPEN_NSFW:
        return embedded()
    if model != AUTO:
        with load_errors(model):
            return Loaded(transformers_model(model, find(model, revision=revision)))
    files = find_here(FALCONSAI, revision=revision)
    if files is None and (problem := unreachable(FALCONSAI, revision=revision)):
        return embedded(f"{FALCONSAI} is not on this machine, and {problem}")
    try:
        with load_errors(FALCONSAI):
            files = files or fetch(FALCONSAI, revision=revision)
        return Loaded(transformers_model(FALCONSAI, files))
    except ModelError as error:
        return embedded(str(error))


class ModelLoader:
    """Runs a loading function once, in a thread of its own, and holds what came of it."""

    def __init__(self, wanted: str, load: Callable[[], Loaded]) -> None:
        self._load = load
        self._status = ModelStatus(ModelState.LOADING, wanted)
        self._done = threading.Event()
        self._started = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="model-loader", daemon=True)

    def start(self) -> None:
        """Begin to load; a second call changes nothing."""
        with self._started:
            if self._thread.ident is None:
                self._thread.start()

    @property
    def status(self) -> ModelStatus:
        """Where loading stands now; never waits."""
        return self._status

    def join(self) -> ModelStatus:
        """Waits until loading has ended, well or not. Without `start` it would wait for ever."""
        self._done.wait()
        return self._status

    def wait(self) -> Classifier:
        """The classifier, loading it first if need be.

        Raises:
            ModelError: It cannot be loaded.
        """
        self.start()
        self.join()
        return self.classifier

    @property
    def classifier(self) -> Classifier:
        """The classifier; never waits.

        Raises:
            ModelLoading: Not yet.
            ModelError: It cannot be loaded.
        """
        status = self._status
        if status.state is ModelState.LOADING:
            raise ModelLoading("The model is still loading. Try again in a moment.")
        if status.classifier is None:
            error = status.error or ModelError(status.message)
            raise type(error)(status.message)
        return status.classifier

    def _run(self) -> None:
        wanted = self._status.wanted
        try:
            with load_errors(wanted):
                loaded = self._load()
        except ModelError as error:
            self._status = ModelStatus(ModelState.FAILED, wanted, message=str(error), error=error)
        else:
            self._status = ModelStatus(
                ModelState.READY, wanted, loaded.classifier, loaded.fallback_reason
            )
        finally:
            if self._status.state is ModelState.LOADING:  # a library has ended the thread
                ended = ModelLoadFailed("Loading the model was ended by a library. See the log.")
                self._status = ModelStatus(
                    ModelState.FAILED, wanted, message=str(ended), error=ended
                )
            self._done.set()
