"""Trains small Vision Transformers for the tests, with the labels `normal` and `nsfw`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image


@dataclass(frozen=True)
class SmallViT:
    """A model and how it is trained.

    - `side` and `patch_side` of images and patches are in pixels.
    - `smoothing` of the targets, so that gradients do not vanish where the model is certain.
    """

    side: int
    patch_side: int
    hidden: int
    steps: int
    batch: int
    rate: float
    smoothing: float = 0.0

    def train_and_save(
        self, images: Sequence[Image.Image], unsafe: NDArray[np.float64], directory: Path
    ) -> None:
        """Train the model and save it with its image processor, as save_pretrained does.

        Args:
            images: RGB images.
            unsafe: The probability of nsfw that each shall have.
            directory: Of the files.
        """
        import torch
        from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil

        processor = ViTImageProcessorPil(size={"height": self.side, "width": self.side})
        pixels = processor(list(images), return_tensors="pt")["pixel_values"]
        targets = torch.tensor(np.stack([1 - unsafe, unsafe], axis=1), dtype=torch.float32)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # faster for so small a model
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = ViTForImageClassification(
                ViTConfig(
                    image_size=self.side,
                    patch_size=self.patch_side,
                    hidden_size=self.hidden,
                    num_hidden_layers=2,
                    num_attention_heads=2,
                    intermediate_size=2 * self.hidden,
                    id2label={0: "normal", 1: "nsfw"},
                    label2id={"normal": 0, "nsfw": 1},
                )
            )
            optimizer = torch.optim.AdamW(model.parameters(), lr=self.rate)
            model.train()
            for step in range(self.steps):
                start = step * self.batch % len(images)
                chosen = slice(start, start + self.batch)
                optimizer.zero_grad()
                logits = model(pixel_values=pixels[chosen]).logits
                loss = torch.nn.functional.cross_entropy(
                    logits, targets[chosen], label_smoothing=self.smoothing
                )
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
        torch.set_num_threads(threads)
        model.eval().save_pretrained(directory)
        processor.save_pretrained(directory)
