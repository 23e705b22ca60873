"""A trained model as a transformers directory, and the scores that it gives once it is loaded.

- Its configuration names the unsafe labels, because it has no card and its labels may be no known
  words.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError

from nsfw_app import private_files
from nsfw_app.dataset_errors import TrainingError
from nsfw_app.models.artifacts import ModelVersion
from nsfw_app.models.checkpoints import CONFIG, PROCESSOR_CONFIG, UNSAFE_LABELS
from nsfw_app.models.classifier import nsfw_score
from nsfw_app.models.hub import find
from nsfw_app.models.training.features import BATCH, batched
from nsfw_app.models.training.head import Floats
from nsfw_app.models.training.image_inputs import read_inputs
from nsfw_app.records import LabelRole

if TYPE_CHECKING:
    from nsfw_app.models.backends.pytorch import TransformersBackend


def write_model(
    model: Any, source: Path, directory: Path, *, roles: Mapping[str, LabelRole]
) -> None:
    """Write a model in 32-bit floats, with its configuration and that of its image processor.

    Args:
        model: The model.
        source: Directory of the model that it was trained from, whose image processor it uses.
        roles: Of its labels.
        directory: Where to write it.

    Raises:
        StorageError, TrainingError: It cannot be written.
    """
    with private_files.storage_errors():
        try:
            model.save_pretrained(directory)
        except SafetensorError as error:  # also for what the operating system reports
            raise TrainingError(f"The new model cannot be written: {error}") from error
        path = directory / CONFIG
        config = json.loads(path.read_text(encoding="utf-8"))
        config[UNSAFE_LABELS] = [label for label, role in roles.items() if role is LabelRole.UNSAFE]
        path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        processor = source / PROCESSOR_CONFIG
        if processor.is_file():
            (directory / PROCESSOR_CONFIG).write_bytes(processor.read_bytes())


def open_model(
    directory: Path,
    name: str,
    *,
    unsafe_labels: Sequence[str],
    like: "TransformersBackend",
    threads: int,
) -> "TransformersBackend":
    """Load a written model as any other, in the precision of another one.

    Args:
        directory: Where it was written.
        name: Its name.
        unsafe_labels: Those of the settings, by name.
        like: The model that it was trained from, which has the same labels.
        threads: CPU threads.

    Raises:
        ModelError: It cannot be loaded.
        TrainingError: Its labels have other roles once it is loaded.
    """
    from nsfw_app.models.backends.pytorch import FP32_BACKENDS, TransformersBackend

    files = find(str(directory), revision="")
    backend = TransformersBackend(
        ModelVersion.of_files(name, files),
        files=files,
        unsafe_labels=unsafe_labels,
        threads=threads,
        device=like.device,
    )
    if backend.roles != like.roles:
        raise TrainingError(
            f"The new model cannot be used: its labels are {_roles(backend)}, those of the current "
            f"one {_roles(like)}."
        )
    is_half = like.identity.backend != FP32_BACKENDS[like.device]
    return backend.to_half() if is_half else backend


def score_files(
    paths: Sequence[Path],
    backend: "TransformersBackend",
    *,
    threads: int,
    advance: Callable[[], None],
) -> Floats:
    """The nsfw scores of image files, shape (n,).

    Raises:
        ImageError: A file cannot be decoded.
        PredictionFailed: The model failed.
    """
    scores: list[float] = []
    for batch in batched(read_inputs(paths, backend, threads=threads), BATCH):
        for image in batch:
            if image.problem is not None:
                raise image.problem
        rows = backend.score(np.stack([each.pixels for each in batch if each.pixels is not None]))
        for row in rows:
            labels = dict(zip(backend.roles, map(float, row), strict=True))
            scores.append(nsfw_score(labels, backend.roles))
            advance()
    return np.array(scores)


def _roles(backend: "TransformersBackend") -> str:
    return ", ".join(f"{label}: {role}" for label, role in backend.roles.items())
