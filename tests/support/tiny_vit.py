"""A Vision Transformer small enough to train in a second, and images that it can classify.

Its labels are Falconsai's, `normal` and `nsfw`. It learns how warm the color of an image is: blue
images are normal, orange ones nsfw, and scores spread over [0, 1].
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from tests.support.shared_files import made_once
from tests.support.small_vit import SmallViT

if TYPE_CHECKING:
    from nsfw_app.models.backends.pytorch import TransformersBackend

COLD = np.array([40, 90, 200])  # red, green, blue
WARM = np.array([230, 120, 40])
GRAIN = 25  # gray levels, standard deviation
TRAINING_IMAGES = 192
TRAINING_SEED = 1_000_000  # and up: far from the seeds that tests use
MODEL = SmallViT(32, 8, hidden=32, steps=80, batch=TRAINING_IMAGES, rate=3e-3)


def tinted_image(warmth: float, *, seed: int = 0, size: tuple[int, int] = (64, 48)) -> Image.Image:
    """A grainy RGB image of one color.

    Args:
        warmth: From 0, blue, to 1, orange. The model's nsfw score is close to it.
        seed: Of the grain; images with different seeds have different bytes.
        size: Width and height in pixels.
    """
    width, height = size
    grain = np.random.default_rng(seed).normal(0, GRAIN, (height, width, 3))
    pixels = COLD + (WARM - COLD) * warmth + grain
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def train_and_save(directory: Path) -> None:
    """Train the model and save it with its image processor, as save_pretrained does."""
    warmth = np.linspace(0, 1, TRAINING_IMAGES)
    images = [tinted_image(w, seed=TRAINING_SEED + i) for i, w in enumerate(warmth)]
    MODEL.train_and_save(images, warmth, directory)


def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The saved model's directory, trained once per run. Tests change only copies of it."""
    return made_once(tmp_path_factory, "tiny-vit", train_and_save)


def relabeled(
    source: Path,
    directory: Path,
    labels: Mapping[str, tuple[int, float]],
    *,
    unsafe_labels: Sequence[str] | None = None,
) -> Path:
    """A copy of a saved model with other labels: each a row of its head, and a shift of its bias.

    `unsafe_labels` are those that its configuration names as such, as `train` writes them.
    """
    import torch
    from safetensors.torch import load_file, save_file

    shutil.copytree(source, directory)
    weights = load_file(directory / "model.safetensors")
    rows = [row for row, _ in labels.values()]
    shifts = torch.tensor([shift for _, shift in labels.values()])
    weights["classifier.weight"] = weights["classifier.weight"][rows]
    weights["classifier.bias"] = weights["classifier.bias"][rows] + shifts
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((directory / "config.json").read_text())
    config["id2label"] = {str(number): label for number, label in enumerate(labels)}
    config["label2id"] = {label: number for number, label in enumerate(labels)}
    config.pop("nsfw_review_unsafe_labels", None)
    if unsafe_labels is not None:
        config["nsfw_review_unsafe_labels"] = unsafe_labels
    (directory / "config.json").write_text(json.dumps(config))
    return directory


def torch_backend(directory: Path) -> "TransformersBackend":
    """A saved model in 32-bit floats."""
    from nsfw_app.models.artifacts import ModelVersion
    from nsfw_app.models.backends.pytorch import TransformersBackend
    from nsfw_app.models.hub import find

    files = find(str(directory), revision="main")
    origin = ModelVersion.of_files(str(directory), files)
    return TransformersBackend(origin, files=files, unsafe_labels=(), threads=1)


def prepared_images(model: "TransformersBackend", count: int) -> np.ndarray:
    """The input of a model for images from blue to orange."""
    warmth = np.linspace(0, 1, count)
    return np.stack([model.prepare(tinted_image(w, seed=i)) for i, w in enumerate(warmth)])
