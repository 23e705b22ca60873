"""The worker of a cluster: holds the model on one node, scans units, and writes their part files.

- It does not know how it is reached: `cluster` runs it as an actor, tests call it.
- Errors are results, so that each has its sentence on the machine that runs the command.
- At most two units are scanned at once. What it returns has counts, never rows.
"""

import logging
import platform
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from nsfw_app import __version__
from nsfw_app.dataset_errors import ImagesLost, NotShared, SourceError
from nsfw_app.datasets import files, output_file
from nsfw_app.datasets.earlier_parts import EarlierParts, Origin
from nsfw_app.datasets.entries import Entry, Part, Unit
from nsfw_app.datasets.left_out import LeftOutFiles
from nsfw_app.datasets.locations import is_url, redacted
from nsfw_app.datasets.part_files import PartFiles
from nsfw_app.datasets.scan import REMOTE, DonePart, Redo, Scanner
from nsfw_app.datasets.scan_progress import ScanProgress
from nsfw_app.datasets.scan_record import ScanDetail
from nsfw_app.errors import ImageError, NSFWReviewError
from nsfw_app.imaging.decode import Limits
from nsfw_app.models.classifier import Classifier
from nsfw_app.records import LabelRole, ModelIdentity, Policy
from nsfw_app.review.detail import DetailModel, Models

log = logging.getLogger(__name__)

POLL_S = 0.2  # until a file of another node is visible
# Packages that decide pixels and scores, and Python.
PACKAGES = ("pillow", "pi-heif", "numpy", "torch", "transformers", "onnxruntime", "openvino")


class FailureKind(StrEnum):
    """What a worker could not do."""

    MODEL = "model"  # load it
    NOT_SHARED = "not_shared"  # reach output or sources
    WORKER = "worker"  # scan units, any of them: it cannot write, for example
    UNIT = "unit"  # scan this unit


@dataclass(frozen=True, slots=True)
class Failure:
    """A call that failed, with a sentence."""

    kind: FailureKind
    message: str


@dataclass(frozen=True, slots=True)
class WorkerModel:
    """The model that a worker has loaded.

    Attributes:
        host: Name of its machine.
        identity: Of the model.
        roles: The model's labels in its order.
        versions: Of this program, Python and the packages that decide pixels and scores.
        message: Why the model is a fallback, or ''.
        detail: The detail model; None where there is none.
    """

    host: str
    identity: ModelIdentity
    roles: Mapping[str, LabelRole]
    versions: Mapping[str, str]
    message: str = ""
    detail: ScanDetail | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanJob:
    """What workers need to know of a scan.

    Attributes:
        output: Directory of the scan, absolute.
        marker: Name of a file in it, by which a worker knows that it is the same directory.
        token: Content of that file.
        probes: A file of each source: an image or a container.
        labels: Of the model, in its order.
        policy: Decides labels and actions.
        limits: Largest input accepted.
        redo: Which rows of existing part files are made again.
        visible_s: Time after which a file is visible on all nodes.
    """

    output: Path
    marker: str
    token: str
    probes: Sequence[Entry]
    labels: tuple[str, ...]
    policy: Policy
    limits: Limits
    redo: frozenset[Redo] = frozenset()
    visible_s: float = 10.0


@dataclass(frozen=True, slots=True)
class UnitResult:
    """What is known of a unit that was scanned; see the attributes of `Scanner`."""

    parts: Sequence[DonePart]
    progress: ScanProgress
    left_out: LeftOutFiles
    unopened: Sequence[str]


class ScanWorker:
    """Scans units. `load`, then `begin`, must have succeeded before `scan` is called.

    Args:
        open_model: Opens the models with a number of CPU threads.
        threads: CPU threads.
    """

    def __init__(self, open_model: Callable[[int], Models], threads: int) -> None:
        self._open_model = open_model
        self._threads = threads
        self._classifier: Classifier | None = None
        self._detail: DetailModel | None = None
        self._job: ScanJob | None = None
        self._unfinished: Sequence[Path] = ()
        self._earlier: EarlierParts | None = None
        self._running: dict[int, Scanner] = {}
        self._stopped = threading.Event()

    def load(self) -> WorkerModel | Failure:
        """Load the models."""
        try:
            models = self._open_model(self._threads)
            self._detail = models.detail
            classifier = self._classifier = models.loader.wait()
            detail = ScanDetail.of(models.detail) if models.detail else None
        except NSFWReviewError as error:
            return Failure(FailureKind.MODEL, str(error))
        except Exception as error:
            log.exception("The model could not be loaded.")
            return Failure(FailureKind.MODEL, f"The model could not be loaded: {_reason(error)}")
        return WorkerModel(
            socket.gethostname(),
            classifier.identity,
            dict(classifier.roles),
            _versions(),
            models.message,
            detail,
        )

    def begin(self, job: ScanJob) -> Failure | None:
        """Check that output and sources can be reached from here, and be ready for units."""
        try:
            _check_output(job)
            _check_sources(job.probes)
            parts = PartFiles(job.output, job.labels)
            self._unfinished = parts.unfinished_paths()
            # Those of files are the command's, which knows all units.
            self._earlier = EarlierParts(parts, Origin.CONTAINERS)
        except NSFWReviewError as error:
            return Failure(FailureKind.NOT_SHARED, str(error))
        except Exception as error:
            log.exception("The output could not be checked.")
            return Failure(FailureKind.NOT_SHARED, f"It cannot be checked: {_reason(error)}")
        self._job = job
        return None

    def scan(self, number: int, unit: Unit) -> UnitResult | Failure:
        """Scan a unit; after `stop`, the images in flight only."""
        if self._job is None or self._classifier is None:
            return Failure(FailureKind.WORKER, "The worker has no scan.")
        job = self._job
        is_remote = any(is_url(entry.file) for entry in unit.entries)
        output = PartFiles(job.output, job.labels)
        scanner = Scanner(
            output,
            classifier=self._classifier,
            policy=job.policy,
            limits=job.limits,
            redo=job.redo,
            concurrency=self._classifier.max_in_flight * (REMOTE if is_remote else 1),
            known_files=self._known(unit, output),
            earlier=self._earlier,
            detail=self._detail,
        )
        self._running[number] = scanner
        try:
            if self._stopped.is_set():
                scanner.stop()
            parts = list(scanner.scan([unit]))
        # Another worker would find the same: lost images of a table of paths, or no list of them.
        except (ImagesLost, ImageError, SourceError) as error:
            return Failure(FailureKind.UNIT, str(error))
        except NSFWReviewError as error:
            return Failure(FailureKind.WORKER, str(error))
        except Exception as error:
            log.exception("A unit failed.")
            return Failure(FailureKind.UNIT, _reason(error))
        finally:
            self._running.pop(number, None)
        return UnitResult(parts, scanner.progress.snapshot(), scanner.left_out, scanner.unopened)

    def progress(self) -> dict[int, ScanProgress]:
        """Counts of the units that are being scanned, by their numbers."""
        return {number: each.progress.snapshot() for number, each in [*self._running.items()]}

    def stop(self) -> None:
        """Take no further image."""
        self._stopped.set()
        for scanner in [*self._running.values()]:
            scanner.stop()

    def _known(self, unit: Unit, output: PartFiles) -> Sequence[Path]:
        """Rows of this unit that earlier runs have made; of a container, unfinished ones of any."""
        if unit.is_container:
            return self._unfinished
        return [output.unfinished_path(Part.of(unit.entries).key)]


def _check_output(job: ScanJob) -> None:
    """Check that the output is that of the command, and can be written.

    Raises:
        NotShared: It is another directory, or none.
        ScanError: It cannot be written.
    """
    path = job.output / job.marker
    deadline = time.monotonic() + job.visible_s
    while _text(path) != job.token:
        if time.monotonic() > deadline:
            raise NotShared(
                f"{job.output} is not the same directory there. --output must be on a file system "
                "that all nodes mount at the same path."
            )
        time.sleep(POLL_S)
    own = PartFiles(job.output, job.labels).directory / f"{output_file.PARTIAL}{uuid.uuid4().hex}"
    output_file.write(own, b"")
    with output_file.writing(own.parent):
        own.unlink()


def _text(path: Path) -> str:
    with suppress(OSError):
        return path.read_text(encoding="utf-8")
    return ""


def _check_sources(probes: Sequence[Entry]) -> None:
    """Check that an image of each source is the same here.

    Raises:
        NotShared: It is missing, or another one.
        SourceError: The package for its URL is not installed.
    """
    for entry in probes:
        files.check_installed(entry.file)
        try:
            status = files.status(entry.file)
        except ImageError as error:
            raise NotShared(
                f"{redacted(entry.file)} cannot be read there: {error} Sources must be URLs, or "
                "on a file system that all nodes mount at the same path."
            ) from error
        if entry.size is not None and status.size != entry.size:
            raise NotShared(
                f"{redacted(entry.file)} is another file there: {status.size or 0:,} bytes in "
                f"place of {entry.size:,}. All nodes must mount the same file system there."
            )


def _versions() -> Mapping[str, str]:
    found = {"nsfw-review": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}. See the log of the worker."
