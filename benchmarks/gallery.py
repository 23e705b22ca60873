"""Throughput of the gallery's upload route: this checkout and a baseline, alternating in one run.

    git worktree add ../baseline HEAD~1
    python -m benchmarks.gallery --baseline ../baseline --files 500

Each round starts a server from each checkout, without users and with an empty store, and uploads
the same 12-megapixel photographs to it, two at a time as the page does. Prints one JSON object:
images a second, CPU milliseconds of the server for each image, and the ratios. On a machine with
other load compare the CPU times: they hardly depend on it.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import httpx2

from benchmarks.files import MEGAPIXELS, MOTIFS, jpegs
from benchmarks.processes import cpu_seconds
from benchmarks.server import TIMEOUT_S, started, until_served, upload

CHECKOUT = Path(__file__).parents[1]
WARM_UP = 16  # images; the first ones load libraries
ROUNDS = 3


def measure(checkout: Path, files: Iterator[bytes], count: int) -> dict[str, float]:
    """Images a second, and the server's CPU time for each, of a server from a checkout."""
    with (
        tempfile.TemporaryDirectory() as folder,
        started(Path(folder), app=checkout / "app.py") as (process, address),
        httpx2.Client(base_url=address, timeout=TIMEOUT_S, trust_env=False) as client,
    ):
        until_served(process, client, "/readyz")
        upload(client, islice(files, WARM_UP), batch_id="first")
        before = cpu_seconds(process.pid)
        rate = upload(client, islice(files, count), batch_id="second")
        used = cpu_seconds(process.pid) - before
    return {"images_per_s": rate, "cpu_ms_per_image": 1e3 * used / count}


def compare(baseline: Path, count: int, rounds: int) -> dict[str, Any]:
    """Measure both checkouts in turn; the median of each number counts."""
    files = jpegs(MEGAPIXELS, motifs=min(count, MOTIFS))  # the same images, each with new bytes
    checkouts = {"baseline": baseline, "this": CHECKOUT}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in checkouts}
    for _ in range(rounds):
        for name, checkout in checkouts.items():
            found[name].append(measure(checkout, files, count))
    result: dict[str, Any] = {
        name: {key: round(median(run[key] for run in runs), 2) for key in runs[0]}
        for name, runs in found.items()
    }
    return {
        "files": count,
        "rounds": rounds,
        **result,
        "times_as_fast": ratio(result["this"], result["baseline"], "images_per_s"),
        "times_less_cpu": ratio(result["baseline"], result["this"], "cpu_ms_per_image"),
    }


def ratio(one: dict[str, float], other: dict[str, float], key: str) -> float:
    """The quotient of two measurements."""
    return round(one[key] / other[key], 2)


def main() -> None:
    """Measure, and print the numbers as JSON."""
    parser = argparse.ArgumentParser(description="Gallery throughput of two checkouts.")
    parser.add_argument("--baseline", type=Path, required=True, help="Another checkout.")
    parser.add_argument("--files", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    print(json.dumps(compare(options.baseline.resolve(), options.files, options.rounds), indent=2))


if __name__ == "__main__":
    main()
