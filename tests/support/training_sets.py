"""Training sets of generated images, with a group that the tiny Vision Transformer gets wrong.

The model learned from blue, normal images and orange, nsfw ones. Meadows are orange images with a
green lower half: they are normal, and the model scores them as nsfw.
"""

import hashlib
import io
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nsfw_app.datasets.training import Progress, Trainer, TrainingConfig
from nsfw_app.datasets.training_report import TrainingReport
from nsfw_app.datasets.training_set import LabelSource, Split
from nsfw_app.records import Label
from tests.support.optimized_models import backends
from tests.support.shared_files import made_once
from tests.support.tiny_vit import tinted_image, trained

GREEN = np.array([60, 150, 50])


@dataclass(frozen=True)
class Example:
    """An image with its label, before it is written; without a group it is alone in one.

    By default the label agreed with the model that was reviewed, but for corrections.
    """

    image: Image.Image
    label: Label
    split: Split
    source: str = LabelSource.DECISION
    group: str = ""
    agreed: bool | None = None


def meadow(warmth: float, *, seed: int) -> Image.Image:
    """An image whose upper half is as that of `tinted_image`, and whose lower half is green."""
    pixels = np.asarray(tinted_image(warmth, seed=seed)).copy()
    half = pixels.shape[0] // 2
    grain = pixels[half:].astype(int) - pixels[half:].mean(axis=(0, 1)).astype(int)
    pixels[half:] = (GREEN + grain).clip(0, 255)
    return Image.fromarray(pixels)


def decisions(split: Split, count: int, *, seed: int = 0) -> Iterator[Example]:
    """As many images of each label, which the model gets right."""
    rng = np.random.default_rng(seed)
    for number in range(2 * count):
        label = Label.NSFW if number % 2 else Label.NORMAL
        warmth = rng.uniform(0.65, 1) if label is Label.NSFW else rng.uniform(0, 0.35)
        yield Example(tinted_image(warmth, seed=seed + number), label, split)


def corrections(split: Split, count: int, *, seed: int = 0) -> Iterator[Example]:
    """Meadows, which the model gets wrong."""
    rng = np.random.default_rng(seed + 1)
    for number in range(count):
        image = meadow(rng.uniform(0.65, 1), seed=seed + 50_000 + number)
        yield Example(image, Label.NORMAL, split, LabelSource.CORRECTION)


def write_training_set(directory: Path, examples: Iterable[Example]) -> Path:
    """Write examples in the layout of `datasets.training_set`."""
    rows = defaultdict(list)
    for example in examples:
        buffer = io.BytesIO()
        example.image.save(buffer, "JPEG", quality=95)
        sha256 = hashlib.sha256(buffer.getvalue()).hexdigest()
        name = f"{example.label}/{sha256}.jpg"
        path = directory / example.split / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(buffer.getvalue())
        rows[example.split].append(
            {
                "file_name": name,
                "label": example.label,
                "sha256": sha256,
                "group": example.group or sha256[:16],
                "label_source": example.source,
                "agreed": (
                    example.source != LabelSource.CORRECTION
                    if example.agreed is None
                    else example.agreed
                ),
            }
        )
    for split in Split:
        (directory / split).mkdir(parents=True, exist_ok=True)
        lines = "".join(f"{json.dumps(row)}\n" for row in rows[split])
        (directory / split / "metadata.jsonl").write_text(lines)
    (directory / "README.md").write_text("# A training set of generated images\n")
    return directory


def corrected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training set with 300 corrections, written once per run; tests only read it."""
    examples = [
        *decisions(Split.TRAIN, 100),
        *corrections(Split.TRAIN, 300),
        *decisions(Split.TEST, 80, seed=7_000),
        *corrections(Split.TEST, 60, seed=9_000),
    ]
    return made_once(
        tmp_path_factory, "corrected", lambda directory: write_training_set(directory, examples)
    )


def trained_again(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny Vision Transformer after these corrections, trained once per run."""
    model, training_set = trained(tmp_path_factory), corrected(tmp_path_factory)

    def train_and_check(output: Path) -> None:
        assert train(model, training_set, output).written

    return made_once(tmp_path_factory, "corrected-vit", train_and_check)


def train(
    model: Path | str,
    training_set: Path,
    output: Path,
    *,
    unsafe_labels: Sequence[str] = (),
    backend: str = "torch",
    say: Callable[[str], object] = lambda _: None,
    **options: Any,
) -> TrainingReport:
    """Train in one thread, with the policy of the optimized models' tests.

    `backend` is torch in 32-bit floats, or auto; `say` receives the sentences of the progress.
    """
    config = TrainingConfig(training_set, output, str(model), "main", unsafe_labels, **options)
    progress = Progress(say, lambda _: nullcontext(lambda: None))
    return Trainer(config, backends(output.parent, backend), 1, progress).train()
