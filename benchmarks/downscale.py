"""How far the embedded model's scores move when JPEGs are decoded at reduced scale.

    python -m benchmarks.downscale --seconds 120 --seed 1

The images of the calibration set, in random parts, sizes, qualities, kinds of JPEG and amounts of
grain, are judged as `classify` and as the gallery do, and whole. Prints the largest differences by
the limit that the score stayed below.
"""

import argparse
import io
import random
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image

from nsfw_app.imaging.decode import Limits
from nsfw_app.models import calibration_set
from nsfw_app.models.backends.open_nsfw import OpenNSFW
from nsfw_app.models.cards import OPEN_NSFW, first_policy
from nsfw_app.models.classifier import Classifier
from nsfw_app.models.loader import Loaded, ModelLoader, load_classifier
from nsfw_app.models.selection import AUTO, TORCH, BackendConfig
from nsfw_app.records import Upload
from nsfw_app.review.engine import Engine, PolicyDefaults
from nsfw_app.store import Store

BAND = (0.2, 0.8)
LIMITS = Limits(max_bytes=100_000_000, max_pixels=89_478_485, max_frames=4)


def jpeg(image: Image.Image, chance: random.Random) -> bytes:
    """A part of an image as some camera or website might have saved it."""
    part = chance.choice([1, 1, 0.8, 0.5])
    width, height = (round(side * part) for side in image.size)
    left, top = (round(chance.random() * (1 - part) * side) for side in image.size)
    image = image.crop((left, top, left + width, top + height))
    scale = (chance.choice([0.5, 1, 2, 4, 6, 8, 12, 12, 16, 24]) * 1e6 / (width * height)) ** 0.5
    image = image.resize((round(width * scale), round(height * scale)), Image.Resampling.BICUBIC)
    grain = chance.choice([0, 4, 8, 14, 20])
    if grain:
        pixels = np.asarray(image, dtype=np.int16)
        noise = np.random.default_rng(chance.randrange(2**32)).normal(0, grain, pixels.shape[:2])
        grainy = (pixels + noise[..., None].astype(np.int16)).clip(0, 255)
        image = Image.fromarray(grainy.astype(np.uint8))
    if chance.random() < 0.1:
        image = image.convert(chance.choice(["L", "CMYK"]))
    buffer = io.BytesIO()
    options = chance.choice([{}, {"subsampling": 0}, {"progressive": True}])
    image.save(buffer, "JPEG", quality=chance.choice([10, 25, 50, 75, 88, 95]), **options)
    return buffer.getvalue()


def opened(backend: str) -> Classifier:
    """The embedded model; a faster one is verified in a directory that is not kept."""
    with tempfile.TemporaryDirectory() as artifacts_dir:
        chosen = BackendConfig(
            backend, Path(artifacts_dir), lambda m: first_policy(m, threshold=None, band=BAND)
        )
        return load_classifier(
            OPEN_NSFW, revision="", unsafe_labels=(), threads=2, max_waiting=99, backends=chosen
        ).classifier


def main() -> None:
    """Measure until the time is up."""
    parser = argparse.ArgumentParser(description="How far reduced scale moves scores.")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--backend", default=AUTO, choices=[AUTO, TORCH])
    chosen = parser.parse_args()
    chance = random.Random(chosen.seed)
    sources = calibration_set.bundled()
    loaded = opened(chosen.backend)
    exact = opened(TORCH)
    loader = ModelLoader(OPEN_NSFW, lambda: Loaded(loaded))
    loader.wait()
    moved: dict[str, list[float]] = defaultdict(list)
    from_exact: dict[str, list[float]] = defaultdict(list)
    end = time.monotonic() + chosen.seconds
    with tempfile.TemporaryDirectory() as folder:
        while time.monotonic() < end:
            data = jpeg(chance.choice(sources), chance)
            with Image.open(io.BytesIO(data)) as image:
                picture = image.convert("RGB")
            whole, reference = (c.predict([picture])[0]["nsfw"] for c in (loaded, exact))
            for owner in (None, "ann"):
                with tempfile.TemporaryDirectory(dir=folder) as data_dir:
                    store = Store(
                        Path(data_dir) / "r.db",
                        previews_dir=Path(data_dir) / "i",
                        journal_mode="wal",
                    )
                    engine = Engine(
                        store=store, loader=loader, limits=LIMITS, defaults=PolicyDefaults()
                    )
                    review = engine.review(data, Upload("a.jpg", "command", owner))
                assert review.prediction is not None
                score = review.prediction.nsfw_score
                below = [g.max_score for g in OpenNSFW.downscale_rules if score < g.max_score]
                step = f"below {below[0]}" if below else "not lower"
                moved[step].append(abs(score - whole))
                from_exact[step].append(abs(score - reference))
    files = sum(map(len, moved.values())) // 2
    print(f"{len(sources)} images, {files} files, {loaded.identity.backend}")
    for step, differences in sorted(moved.items()):
        print(
            f"score {step}: {len(differences)} scores, at most {max(differences):.4f} from the "
            f"whole picture's, {max(from_exact[step]):.4f} from that in 32-bit floats"
        )


if __name__ == "__main__":
    main()
