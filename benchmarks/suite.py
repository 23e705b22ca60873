"""The benchmark suite: backends, files, page and API, measured one after the other in one run.

- Each backend is measured in a new process, so that memory and threads are its own.
- Nothing leaves the machine: the measured server listens on 127.0.0.1.
"""

import platform
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import backends, files, peaks, server
from benchmarks.backends import Subject
from benchmarks.processes import in_new_process
from nsfw_app import system
from nsfw_app.models import hub
from nsfw_app.models.cards import FALCONSAI
from nsfw_app.models.optimized_formats import ladder
from nsfw_app.settings import Settings

LIBRARIES = ("torch", "transformers", "onnxruntime", "openvino", "nncf", "pillow", "gradio")
MEGAPIXELS = (1.0, 12.0, 48.0)
ROUNDS = 2  # alternating; the faster of each counts, as other load only slows them down
RANDOM_WEIGHTS = "ViT-base with random weights"

Results = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Workload:
    """How much to measure.

    `seconds` is the duration of each measurement. `classified` and `uploaded` count files of 12
    megapixels; `megapixels` are the file sizes for which the time from file to score is measured.
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
    workload: Workload,
    progress: Callable[[str], None],
) -> Results:
    """Measure everything.

    Args:
        settings: Revision, labels and threads; nothing is written into its data directory.
        model: A hub id or directory; None for Falconsai or, where that is not available, random
            weights of its shape.
        only: Names of the backends to measure; all if empty.
        workload: How much to measure.
        progress: Called with a sentence about each step.

    Returns:
        The object that `--json` prints.

    Raises:
        ModelError: A model requested by name is not available.
        ProcessFailed: The model cannot be loaded, or a measurement failed.
    """
    with tempfile.TemporaryDirectory(prefix="nsfw-benchmark-") as name:
        folder = Path(name)
        subject = _subject(settings, model, folder, progress)
        cpu = system.cpu()
        chosen = only or backends.names(cpu)
        progress(f"Loading {subject.name}, and building its optimized models.")
        facts = in_new_process(backends.build, subject, chosen)
        progress("Measuring the CPU's peak of matrix multiplication.")
        peak = in_new_process(peaks.matmul_gops, settings.threads)
        measured = {}
        for backend in chosen:
            progress(f"Measuring {backend}.")
            measured[backend] = in_new_process(backends.measure, subject, backend, workload.seconds)
        progress("Measuring from file to score.")
        images = files.write(folder / "images", workload.classified)
        best = ladder(multiplies_int8=cpu.multiplies_int8)[0]
        fastest = best if best in chosen else None
        to_score = {
            backend: in_new_process(
                files.to_score, subject, backend, workload.megapixels, workload.seconds
            )
            for backend in ("open-nsfw", *((fastest,) if fastest else ()))
        }
        progress(f"Classifying {workload.classified} images of 12 megapixels.")
        rounds = [
            (
                in_new_process(files.package_loop, images),
                in_new_process(files.classify, subject, images),
            )
            for _ in range(ROUNDS)
        ]
        package, ours = (max(rates) for rates in zip(*rounds, strict=True))
        progress(f"Starting a server, and uploading {workload.uploaded} images to it.")
        served = server.measure(folder / "server", workload.seconds, workload.uploaded)
    return {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": _machine(settings.threads) | {"matmul_peak_gops": peak},
        "model": {"name": subject.name, **facts},
        # The key has the name that it had in version 0.1.
        "engines": backends.with_ratios(
            measured, peak, facts["gflop_per_image"], cpu, subject.policy
        ),
        "file_to_score": to_score,
        "classify_12_megapixels": {
            "files": workload.classified,
            "package_images_per_s": package,
            "images_per_s": ours,
            "times_the_package": round(ours / package, 2),
        },
        **served,
    }


def _subject(
    settings: Settings, model: str | None, folder: Path, progress: Callable[[str], None]
) -> Subject:
    """The model to measure, on this machine."""
    revision = settings.model_revision
    wanted = name = model or FALCONSAI
    if model is None and (problem := _why_not_falconsai(revision)):
        progress(f"{FALCONSAI} is not on this machine, and {problem} {RANDOM_WEIGHTS} is measured.")
        wanted, name = str(folder / "vit-base"), RANDOM_WEIGHTS
        in_new_process(backends.save_random_vit, wanted)
    hub.find(wanted, revision=revision)
    return Subject(
        name, wanted, revision, settings.unsafe_labels, settings.threads, folder / "artifacts"
    )


def _why_not_falconsai(revision: str) -> str:
    """Why it is neither on this machine nor can be downloaded; '' where it is or can."""
    if hub.find_local(FALCONSAI, revision=revision):
        return ""
    return hub.hub_problem(FALCONSAI, revision=revision) or ""


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
