"""A trained model as a transformers directory, and the scores that it gives once it is loaded.

- Its configuration names the unsafe labels, because it has no card and its labels may be no known
  words.
"""

import json
import stat
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError

from nsfw_app.dataset_errors import TrainingError
from nsfw_app.models.artifacts import ModelVersion
from nsfw_app.models.checkpoints import CONFIG, PROCESSOR_CONFIG, UNSAFE_LABELS
from nsfw_app.models.classifier import nsfw_score
from nsfw_app.models.hub import find
from nsfw_app.models.training.features import BATCH, batched
from nsfw_app.models.training.head import Floats, find_layer, nsfw_scores
from nsfw_app.models.training.image_inputs import read_inputs
from nsfw_app.records import LabelRole

if TYPE_CHECKING:
    from nsfw_app.models.backends.pytorch import TransformersBackend

COMPARED = 16  # images whose scores from features are compared with the model's own
EXACT, HALF = 1e-4, 0.02  # differences of scores by rounding, in 32-bit floats and half precision


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
        OSError: It cannot be written.
    """
    try:
        model.save_pretrained(directory)
    except SafetensorError as error:  # also for what the operating system reports
        raise OSError(str(error)) from error
    path = directory / CONFIG
    config = json.loads(path.read_text(encoding="utf-8"))
    config[UNSAFE_LABELS] = [label for label, role in roles.items() if role is LabelRole.UNSAFE]
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    processor = source / PROCESSOR_CONFIG
    if processor.is_file():
        (directory / PROCESSOR_CONFIG).write_bytes(processor.read_bytes())
    # safetensors makes its files private; the umask decides about those that Python makes.
    mode = stat.S_IMODE(path.stat().st_mode)
    for file in directory.iterdir():
        file.chmod(mode)


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
    from nsfw_app.models.backends.pytorch import TransformersBackend

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
    return backend if _is_exact(like) else backend.to_half()


def score_test_images(
    paths: Sequence[Path],
    features: NDArray[np.float32] | None,
    backend: "TransformersBackend",
    *,
    threads: int,
    advance: Callable[[], None],
) -> Floats:
    """The nsfw scores of image files by a model that was opened, shape (n,).

    Args:
        paths: The files.
        features: Shape (n, features), what its head receives for them; None if that is not known.
            Then, or if the scores of a few images are others, the model computes all of them.
        backend: The model.
        threads: Images decoded at once.
        advance: Called after each image.

    Raises:
        ImageError: A file cannot be decoded.
        PredictionFailed: The model failed.
    """
    if features is not None:
        scores = _head_scores(features, backend)
        few = np.unique(np.linspace(0, len(paths) - 1, COMPARED).astype(int))
        compared = score_files([paths[i] for i in few], backend, threads=threads)
        if np.abs(compared - scores[few]).max() <= _tolerance(backend):
            for _ in paths:
                advance()
            return scores
    return score_files(paths, backend, threads=threads, advance=advance)


def score_files(
    paths: Sequence[Path],
    backend: "TransformersBackend",
    *,
    threads: int,
    advance: Callable[[], None] = lambda: None,
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


def _head_scores(features: NDArray[np.float32], backend: "TransformersBackend") -> Floats:
    """The nsfw scores that a model's head gives for what it receives."""
    import torch

    layer: Any = find_layer(backend.model)
    with torch.inference_mode():
        inputs = torch.from_numpy(features).to(layer.weight)
        logits = layer(inputs).float().cpu().numpy()
    unsafe = np.array([role is LabelRole.UNSAFE for role in backend.roles.values()])
    return nsfw_scores(logits, unsafe)


def _tolerance(backend: "TransformersBackend") -> float:
    """How far scores differ by rounding: results depend on the number of images in a batch."""
    return EXACT if _is_exact(backend) else HALF


def _is_exact(backend: "TransformersBackend") -> bool:
    from nsfw_app.models.backends.pytorch import FP32_BACKENDS

    return backend.identity.backend == FP32_BACKENDS[backend.device]


def _roles(backend: "TransformersBackend") -> str:
    return ", ".join(f"{label}: {role}" for label, role in backend.roles.items())
