"""A Vision Transformer whose evidence is known: it looks for one orange patch among gray noise.

An image is `nsfw` where it has the patch, anywhere, else `normal`. The patch is as large as one
patch of the model, and lies on its grid of 7 by 7.
"""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SIDE, CELLS = 56, 7  # pixels and patches along a side
CELL = SIDE // CELLS
ORANGE = (240, 120, 20)
GRAIN = 30  # gray levels, standard deviation
TRAINING_IMAGES, BATCH, STEPS = 320, 16, 120
TRAINING_SEED = 1_000_000  # and up: far from the seeds that tests use


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
    import torch
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil

    rng = np.random.default_rng(0)
    cells = [int(rng.integers(CELLS**2)) if i % 2 else None for i in range(TRAINING_IMAGES)]
    images = [image_with_patch(c, seed=TRAINING_SEED + i) for i, c in enumerate(cells)]
    processor = ViTImageProcessorPil(size={"height": SIDE, "width": SIDE})
    pixels = processor(images, return_tensors="pt")["pixel_values"]
    targets = torch.tensor([int(cell is not None) for cell in cells])
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # faster for so small a model
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = ViTForImageClassification(
            ViTConfig(
                image_size=SIDE,
                patch_size=CELL,
                hidden_size=16,
                num_hidden_layers=2,
                num_attention_heads=2,
                intermediate_size=32,
                id2label={0: "normal", 1: "nsfw"},
                label2id={"normal": 0, "nsfw": 1},
            )
        )
        optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
        model.train()
        for step in range(STEPS):
            chosen = slice(step * BATCH % TRAINING_IMAGES, step * BATCH % TRAINING_IMAGES + BATCH)
            optimizer.zero_grad()
            logits = model(pixel_values=pixels[chosen]).logits
            # Smoothed, so that gradients do not vanish where the model is certain.
            loss = torch.nn.functional.cross_entropy(logits, targets[chosen], label_smoothing=0.1)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    torch.set_num_threads(threads)
    model.eval().save_pretrained(directory)
    processor.save_pretrained(directory)


def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The saved model's directory, trained once per session; tests only read it."""
    directory = tmp_path_factory.getbasetemp() / "patch-vit"
    if not directory.is_dir():
        train_and_save(directory)
    return directory
