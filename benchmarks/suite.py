"""Measures this product on this machine, everything side by side in one run.

Each engine has a process of its own, so that its memory is its own and no other's threads wait
beside it. Nothing leaves the machine: the server that is measured is served to it alone.
"""

import platform
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks import backends, files, peaks, server
from benchmarks.backends import Subject
from nsfw_app import system
from nsfw_app.models import hub
from nsfw_app.models.cards import FALCONSAI
from nsfw_app.models.formats import ladder
from nsfw_app.settings import Settings

LIBRARIES = ("torch", "transformers", "onnxruntime", "openvino", "nncf", "pillow", "gradio")
MEGAPIXELS = (1.0, 12.0, 48.0)
ROUNDS = 2  # by turns; the better of each counts, because what else goes on only slows them
RANDOM_WEIGHTS = "ViT-base with random weights"

Results = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured.

    `seconds` is for each number. `classified` and `uploaded` are files of 12 megapixels;
    `megapixels` are the sizes that file to score is measured for.
    """

    seconds: float = 8.0
    classified: int = 200
    uploaded: int = 500
    megapixels: tuple[float, ...] = MEGAPIXELS


def run(
    settings: Settings,
    *,
    model: str | None,
    only: tuple[str, ...],
    effort: Effort,
    progress: Callable[[str], None],
) -> Results:
    """Measure everything.

    Args:
        settings: Revision, labels and threads; nothing is written into its data directory.
        model: A hub id or directory; None for Falconsai, or where that cannot be had, a network
            of its shape with weights of chance.
        only: Names of the engines to measure; all where there are none.
        effort: How much.
        progress: Is told what goes on.

    Returns:
        What `--json` prints.

    Raises:
        ModelError: A model that was asked for by name cannot be had.
    """
    with tempfile.TemporaryDirectory(prefix="nsfw-benchmark-") as name:
        folder = Path(name)
        progress("Measuring what the CPU can multiply at most.")
        peak = apart(peaks.matmul_gops, settings.threads)
        subject = _subject(settings, model, folder, progress)
        cpu = system.cpu()
        chosen = only or backends.names(cpu)
        made = apart(backends.make, subject, chosen)
        measured = {}
        for engine in chosen:
            progress(f"Measuring {engine}.")
            measured[engine] = apart(backends.measure, subject, engine, effort.seconds)
        progress("Measuring from file to score.")
        photographs = files.write(folder / "photographs", effort.classified)
        best = ladder(multiplies_int8=cpu.multiplies_int8)[0]
        fastest = best if best in chosen else None
        to_score = {
            engine: apart(files.to_score, subject, engine, effort.megapixels, effort.seconds)
            for engine in ("open-nsfw", *((fastest,) if fastest else ()))
        }
        progress(f"Classifying {effort.classified} photographs of 12 megapixels.")
        rounds = [
            (apart(files.package_loop, photographs), apart(files.classify, subject, photographs))
            for _ in range(ROUNDS)
        ]
        package, ours = (max(rates) for rates in zip(*rounds, strict=True))
        progress(f"Starting a server, and uploading {effort.uploaded} photographs to it.")
        served = server.measure(folder / "server", effort.seconds, effort.uploaded)
    return {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": _machine(settings.threads) | {"matmul_peak_gops": peak},
        "model": {"name": subject.name, **made},
        "engines": backends.compared(measured, peak, made["gflop_per_image"], cpu, subject.policy),
        "file_to_score": to_score,
        "classify_12_megapixels": {
            "files": effort.classified,
            "package_images_per_s": package,
            "images_per_s": ours,
            "times_the_package": round(ours / package, 2),
        },
        **served,
    }


def apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function of this package in a new process that ends with it."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def _subject(
    settings: Settings, model: str | None, folder: Path, progress: Callable[[str], None]
) -> Subject:
    """The model to measure, on this disk."""
    revision = settings.model_revision
    wanted = name = model or FALCONSAI
    if model is None and (problem := _why_not_falconsai(revision)):
        progress(
            f"{FALCONSAI} is not on this machine, and {problem} A {RANDOM_WEIGHTS} is measured."
        )
        wanted, name = str(folder / "vit-base"), RANDOM_WEIGHTS
        apart(backends.save_random_vit, wanted)
    hub.find(wanted, revision=revision)
    return Subject(
        name, wanted, revision, settings.unsafe_labels, settings.threads, folder / "engines"
    )


def _why_not_falconsai(revision: str) -> str:
    """Why it can neither be found here nor fetched; nothing where it can."""
    if hub.find_here(FALCONSAI, revision=revision):
        return ""
    return hub.unreachable(FALCONSAI, revision=revision) or ""


def _machine(threads: int) -> Results:
    cpu = asdict(system.cpu())
    return {
        "cpu": cpu["name"],
        "usable_cpus": cpu["usable"],
        "threads": threads,
        "features": sorted(cpu["features"]),
        "memory_mb": system.total_memory_mb(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in LIBRARIES},
    }
