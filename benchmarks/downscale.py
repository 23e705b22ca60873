"""Score differences of the embedded model when JPEGs are decoded at reduced scale.

    python -m benchmarks.downscale --seconds 120 --seed 1

Random crops of the calibration set are encoded in random sizes, qualities, kinds of JPEG and
amounts of grain. Each is scored at full scale, and as `classify` and the gallery do. Prints the
largest differences, by the rule whose limit the score is below.
"""

import argparse
import io
import random
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from nsfw_app.imaging.decode import Limits
from nsfw_app.models import calibration_set
from nsfw_app.models.backends.open_nsfw import OpenNSFW
from nsfw_app.models.cards import OPEN_NSFW, first_policy
from nsfw_app.models.classifier import Classifier
from nsfw_app.models.loader import Loaded, ModelLoader, load_classifier
from nsfw_app.models.selection import AUTO, TORCH, BackendConfig
from nsfw_app.records import Retain, Upload
from nsfw_app.review.engine import Engine
from nsfw_app.review.policies import PolicyBook
from nsfw_app.store import Store

BAND = (0.2, 0.8)
LIMITS = Limits(max_bytes=100_000_000, max_pixels=89_478_485, max_frames=4)


def random_jpeg(image: Image.Image, rng: random.Random) -> bytes:
    """A random crop of an image, encoded as a camera or website might do."""
    part = rng.choice([1, 1, 0.8, 0.5])
    width, height = (round(side * part) for side in image.size)
    left, top = (round(rng.random() * (1 - part) * side) for side in image.size)
    image = image.crop((left, top, left + width, top + height))
    scale = (rng.choice([0.5, 1, 2, 4, 6, 8, 12, 12, 16, 24]) * 1e6 / (width * height)) ** 0.5
    image = image.resize((round(width * scale), round(height * scale)), Image.Resampling.BICUBIC)
    grain = rng.choice([0, 4, 8, 14, 20])
    if grain:
        pixels = np.asarray(image, dtype=np.int16)
        noise = np.random.default_rng(rng.randrange(2**32)).normal(0, grain, pixels.shape[:2])
        grainy = (pixels + noise[..., None].astype(np.int16)).clip(0, 255)
        image = Image.fromarray(grainy.astype(np.uint8))
    if rng.random() < 0.1:
        image = image.convert(rng.choice(["L", "CMYK"]))
    buffer = io.BytesIO()
    options: dict[str, Any] = rng.choice([{}, {"subsampling": 0}, {"progressive": True}])
    image.save(buffer, "JPEG", quality=rng.choice([10, 25, 50, 75, 88, 95]), **options)
    return buffer.getvalue()


def open_embedded_model(backend: str) -> Classifier:
    """The embedded model; half precision is verified in a temporary directory."""
    with tempfile.TemporaryDirectory() as artifacts_dir:
        config = BackendConfig(
            backend, Path(artifacts_dir), lambda m: first_policy(m, threshold=None, band=BAND)
        )
        return load_classifier(
            OPEN_NSFW, revision="", unsafe_labels=(), threads=2, max_waiting=99, backends=config
        ).classifier


def main() -> None:
    """Measure for the given time, and print the differences."""
    parser = argparse.ArgumentParser(description="Score differences at reduced scale.")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--backend", default=AUTO, choices=[AUTO, TORCH])
    chosen = parser.parse_args()
    rng = random.Random(chosen.seed)
    sources = calibration_set.bundled()
    loaded = open_embedded_model(chosen.backend)
    fp32 = open_embedded_model(TORCH)
    loader = ModelLoader(OPEN_NSFW, lambda: Loaded(loaded))
    loader.wait()
    moved: dict[str, list[float]] = defaultdict(list)
    from_fp32: dict[str, list[float]] = defaultdict(list)
    end = time.monotonic() + chosen.seconds
    with tempfile.TemporaryDirectory() as folder:
        while time.monotonic() < end:
            data = random_jpeg(rng.choice(sources), rng)
            with Image.open(io.BytesIO(data)) as image:
                decoded = image.convert("RGB")
            full, reference = (c.predict([decoded])[0]["nsfw"] for c in (loaded, fp32))
            for retain in (Retain.SCORE, Retain.PREVIEW):
                with tempfile.TemporaryDirectory(dir=folder) as data_dir:
                    store = Store(
                        Path(data_dir) / "r.db",
                        previews_dir=Path(data_dir) / "i",
                        journal_mode="wal",
                    )
                    engine = Engine(
                        store=store,
                        loader=loader,
                        limits=LIMITS,
                        policies=PolicyBook(store.policies),
                    )
                    review = engine.review(data, Upload("a.jpg", "command", "ann", retain=retain))
                assert review.prediction is not None
                score = review.prediction.nsfw_score
                limits = [r.max_score for r in OpenNSFW.downscale_rules if score < r.max_score]
                group = f"below {limits[0]}" if limits else "above every limit"
                moved[group].append(abs(score - full))
                from_fp32[group].append(abs(score - reference))
    files = sum(map(len, moved.values())) // 2
    print(f"{len(sources)} images, {files} files, {loaded.identity.backend}")
    for group, differences in sorted(moved.items()):
        print(
            f"score {group}: {len(differences)} scores, at most {max(differences):.4f} from the "
            f"score at full scale, {max(from_fp32[group]):.4f} from that in 32-bit floats"
        )


if __name__ == "__main__":
    main()
