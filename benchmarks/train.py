"""How long `train` takes with a ViT-base of random weights, and its images a second by precision.

    python -m benchmarks.train
    python -m benchmarks.train --images 100

Labels are random, so that the result is not better and not written. The images are crops of the
calibration set, as large as previews of photographs.
"""

import argparse
import hashlib
import io
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.backends import save_random_vit
from nsfw_app import system
from nsfw_app.datasets.training import Progress, Trainer, TrainingConfig
from nsfw_app.models import calibration_set
from nsfw_app.models.artifacts import ModelVersion
from nsfw_app.models.backends.pytorch import TransformersBackend
from nsfw_app.models.cards import first_policy
from nsfw_app.models.hub import find
from nsfw_app.models.selection import AUTO, BackendConfig
from nsfw_app.models.training.features import compute_features

TEST_SHARE = 5  # of which one is held out
SIDE = 1_000  # pixels of the longer side
SAMPLE = 64  # images with which each precision is timed


def main() -> None:
    """Time each precision, then a whole training."""
    parser = argparse.ArgumentParser(description="How long train takes with a ViT-base.")
    parser.add_argument("--images", type=int, default=2_000)
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    cpu = system.cpu()
    print(f"{cpu.name}, {chosen.threads} threads, {chosen.images:,} images", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        model = root / "vit-base"
        save_random_vit(str(model))
        paths = write_training_set(root / "set", chosen.images)
        time_precisions(model, paths[:SAMPLE], root, threads=chosen.threads)
        start = time.perf_counter()
        report = Trainer(
            TrainingConfig(root / "set", root / "new", str(model), "main", ()),
            BackendConfig(
                AUTO,
                root / "artifacts",
                lambda name: first_policy(name, threshold=None, band=(0.2, 0.8)),
            ),
            chosen.threads,
            Progress(
                lambda text: print(f"  {time.perf_counter() - start:6.1f} s  {text}", flush=True),
                _untracked,
            ),
        ).train()
        seconds = time.perf_counter() - start
        print(f"train: {seconds:.0f} s with {report.backend}; {report.replacement.outcome}")


def time_precisions(model: Path, paths: list[Path], root: Path, *, threads: int) -> None:
    """Print images a second of 32-bit floats and half precision, decoding included."""
    files = find(str(model), revision="main")
    origin = ModelVersion.of_files(str(model), files)
    original = TransformersBackend(origin, files=files, unsafe_labels=(), threads=threads)
    for number, backend in enumerate((original, original.to_half())):
        directory = root / f"features-{number}"
        compute_features(  # runtimes allocate memory in the first run
            paths[:8], backend, directory=directory, threads=threads, advance=lambda: None
        )
        start = time.perf_counter()
        compute_features(paths, backend, directory=directory, threads=threads, advance=lambda: None)
        rate = (len(paths) - 8) / (time.perf_counter() - start)
        print(f"{backend.identity.backend}: {rate:.1f} images/s", flush=True)


def write_training_set(directory: Path, count: int) -> list[Path]:
    """Write crops of photographs with random labels, and return their paths."""
    rng = np.random.default_rng(0)
    sources, paths = calibration_set.bundled(), []
    for split in ("train", "test"):
        (directory / split).mkdir(parents=True)
    rows: dict[str, list[str]] = {"train": [], "test": []}
    for number in range(count):
        split = "train" if number % TEST_SHARE else "test"
        label = "nsfw" if rng.random() < 0.5 else "normal"
        data = _crop(sources[number % len(sources)], rng)
        sha256 = hashlib.sha256(data).hexdigest()
        path = directory / split / label / f"{sha256}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        paths.append(path)
        row = {"file_name": f"{label}/{path.name}", "label": label, "sha256": sha256}
        rows[split].append(json.dumps(row | {"group": sha256, "label_source": "decision"}))
    for split, lines in rows.items():
        (directory / split / "metadata.jsonl").write_text("\n".join(lines))
    return paths


def _crop(image: Image.Image, rng: np.random.Generator) -> bytes:
    share = rng.uniform(0.6, 0.95)
    width, height = (int(side * share) for side in image.size)
    left, top = (
        int(rng.integers(0, whole - part + 1))
        for whole, part in zip(image.size, (width, height), strict=True)
    )
    crop = image.crop((left, top, left + width, top + height))
    factor = SIDE / max(crop.size)
    buffer = io.BytesIO()
    crop.resize((round(width * factor), round(height * factor))).save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


@contextmanager
def _untracked(_: int) -> Iterator[Callable[[], None]]:
    yield lambda: None


if __name__ == "__main__":
    main()
