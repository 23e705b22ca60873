"""A Vision Transformer whose evidence is known: it looks for one orange patch among gray noise.

An image is `nsfw` where it has the patch, anywhere, else `normal`. The patch is as large as one
patch of the model, and lies on its grid of 7 by 7.
"""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.shared_files import made_once
from tests.support.small_vit import SmallViT

SIDE, CELLS = 56, 7  # pixels and patches along a side
CELL = SIDE // CELLS
ORANGE = (240, 120, 20)
GRAIN = 30  # gray levels, standard deviation
TRAINING_IMAGES = 320
TRAINING_SEED = 1_000_000  # and up: far from the seeds that tests use
MODEL = SmallViT(SIDE, CELL, hidden=16, steps=120, batch=16, rate=5e-3, smoothing=0.1)


def image_with_patch(cell: int | None, *, seed: int) -> Image.Image:
    """Gray noise, with the patch in one cell.

    Args:
        cell: The number of the cell, row by row; None for no patch.
        seed: Of the noise.
    """
    rng = np.random.default_rng(seed)
    pixels = rng.normal(128, GRAIN, (SIDE, SIDE, 1)).repeat(3, axis=2)
    if cell is not None:
        top, left = (CELL * part for part in divmod(cell, CELLS))
        pixels[top : top + CELL, left : left + CELL] = ORANGE
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def train_and_save(directory: Path) -> None:
    """Train the model and save it with its image processor, as save_pretrained does."""
    rng = np.random.default_rng(0)
    cells = [int(rng.integers(CELLS**2)) if i % 2 else None for i in range(TRAINING_IMAGES)]
    images = [image_with_patch(c, seed=TRAINING_SEED + i) for i, c in enumerate(cells)]
    unsafe = np.array([float(cell is not None) for cell in cells])
    MODEL.train_and_save(images, unsafe, directory)


def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The saved model's directory, trained once per run; tests only read it."""
    return made_once(tmp_path_factory, "patch-vit", train_and_save)
