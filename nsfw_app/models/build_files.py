"""Builds of optimized models on disk: one directory for each.

    engines/<model>/<revision>/
      optimization.json        what `optimize` tried last, and why each was kept or not
      <format>/<build>/
        artefact.json          what it was built from and how it was verified
        model.onnx, or model.xml and model.bin, and the configuration of an image processor

- A build appears complete or not at all: it is written under a hidden name, then renamed.
- A new build replaces the older one that was verified on the same kind of CPU.
- `engines` and `artefact` are spelled as in the first version, so that its files stay readable.
"""

import fcntl
import hashlib
import json
import logging
import re
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nsfw_app import private_files
from nsfw_app.models.artifacts import DESCRIPTION, ModelVersion, OptimizedModel
from nsfw_app.models.optimized_formats import ORIGINAL_BACKENDS, Format
from nsfw_app.records import Policy

log = logging.getLogger(__name__)

ATTEMPTS = "optimization.json"
LOCK = ".lock"
ABANDONED_S = 86_400  # a build that is not complete after a day never will be


@dataclass(frozen=True, slots=True)
class Attempt:
    """A format that `optimize` tried, with a sentence that says why it was or was not kept."""

    format: Format
    kept: bool
    outcome: str


def builds_dir(artifacts_dir: Path, origin: ModelVersion, kind: Format) -> Path:
    """The directory of all builds of a format."""
    return _model_dir(artifacts_dir, origin) / kind


def find(artifacts_dir: Path, origin: ModelVersion) -> list[OptimizedModel]:
    """The latest build of each format from exactly these weights, the fastest first."""
    found = (latest(artifacts_dir, origin, kind) for kind in Format)
    return sorted((model for model in found if model is not None), key=lambda m: -m.speedup)


def latest(artifacts_dir: Path, origin: ModelVersion, kind: Format) -> OptimizedModel | None:
    """The latest build of a format from exactly these weights, or None.

    A build that was verified on this machine is preferred to later ones that were not.
    """
    found = _builds(artifacts_dir, origin, kind)
    return next(
        (optimized_model for optimized_model in found if not optimized_model.incompatibility),
        next(iter(found), None),
    )


def verified_backends(artifacts_dir: Path, origin: ModelVersion, policy: Policy) -> frozenset[str]:
    """The backends whose predictions count as predictions of the model itself.

    These are the original's backends and each format whose parity report passes under the policy,
    on any CPU that it was verified on.

    Args:
        artifacts_dir: Directory of optimized models.
        origin: The model's weights.
        policy: The policy in force for the model.
    """
    verified = (
        str(kind)
        for kind in Format
        if any(
            optimized_model.passes(policy)
            for optimized_model in _builds(artifacts_dir, origin, kind)
        )
    )
    return ORIGINAL_BACKENDS | frozenset(verified)


def all_builds(artifacts_dir: Path) -> Iterator[tuple[Path, OptimizedModel | None]]:
    """Every complete build of any model, with its directory; None where `read` returns None."""
    for directory in sorted(artifacts_dir.glob("*/*/*/[0-9]*")):
        yield directory, read(directory)


def read(directory: Path) -> OptimizedModel | None:
    """The build in a directory; None where there is none or its description was changed."""
    try:
        description = json.loads((directory / DESCRIPTION).read_text(encoding="utf-8"))
        values = description["artefact"]
        if description["sha256"] != _digest(values):
            log.warning("%s was changed after it was written and is not used.", directory)
            return None
        return OptimizedModel.from_json(directory, values)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


@contextmanager
def lock(artifacts_dir: Path) -> Iterator[None]:
    """Hold the directory of optimized models exclusively, among all threads and processes.

    The operating system releases the lock when a process ends, however it ends.

    Raises:
        StorageError: The directory cannot be written.
    """
    with private_files.storage_errors():
        private_files.make_directory(artifacts_dir)
        file = (artifacts_dir / LOCK).open("a")
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def new_build(builds: Path) -> Iterator[Path]:
    """An empty directory that becomes the latest build when the block ends without an error.

    Raises:
        StorageError: The directory, or a file in it, cannot be written.
    """
    build = f"{time.time_ns():020}-{uuid.uuid4().hex}"
    partial = builds / f".{build}"
    with private_files.storage_errors():
        private_files.make_directory(builds)
        partial.mkdir(mode=0o700)
        try:
            yield partial
            private_files.restrict_tree(partial)
            partial.replace(builds / build)
            _delete_replaced(builds, by=build)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def write(directory: Path, optimized_model: OptimizedModel) -> None:
    """Write the description of an optimized model into its directory."""
    values = optimized_model.to_json()
    description = {"artefact": values, "sha256": _digest(values)}
    path = directory / DESCRIPTION
    path.write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")


def write_attempts(artifacts_dir: Path, origin: ModelVersion, attempts: Sequence[Attempt]) -> None:
    """Store the attempts of `optimize` in place of its earlier ones.

    Raises:
        StorageError: They cannot be written.
    """
    path = _model_dir(artifacts_dir, origin) / ATTEMPTS
    values = {"origin": asdict(origin), "attempts": [asdict(attempt) for attempt in attempts]}
    with private_files.storage_errors():
        private_files.make_directory(path.parent)
        with private_files.staged_file(path) as file:
            file.write(f"{json.dumps(values, indent=2)}\n".encode())


def read_attempts(artifacts_dir: Path, origin: ModelVersion) -> list[Attempt]:
    """Attempts of the latest `optimize` with these weights, in order."""
    try:
        values = json.loads(
            (_model_dir(artifacts_dir, origin) / ATTEMPTS).read_text(encoding="utf-8")
        )
        if ModelVersion(**values["origin"]) != origin:
            return []
        return [Attempt(Format(a["format"]), a["kept"], a["outcome"]) for a in values["attempts"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _builds(artifacts_dir: Path, origin: ModelVersion, kind: Format) -> list[OptimizedModel]:
    """Every build of a format from exactly these weights, the latest first."""
    builds = sorted(builds_dir(artifacts_dir, origin, kind).glob("[0-9]*"), reverse=True)
    found = map(read, builds)
    return [model for model in found if model is not None and model.origin == origin]


def _model_dir(artifacts_dir: Path, origin: ModelVersion) -> Path:
    return artifacts_dir / _slug(origin.model) / _slug(origin.revision)


def _delete_replaced(builds: Path, *, by: str) -> None:
    """Delete the builds that a new one replaces, and abandoned partial ones.

    Partial builds of other writers and builds for other kinds of CPU stay.
    """
    new = read(builds / by)
    for path in builds.iterdir():
        with suppress(FileNotFoundError):  # another writer has renamed or deleted it
            is_partial = path.name.startswith(".")
            replaced = not is_partial and path.name < by and _same_cpu(new, read(path))
            abandoned = is_partial and path.stat().st_mtime < time.time() - ABANDONED_S
            if replaced or abandoned:
                shutil.rmtree(path, ignore_errors=True)


def _same_cpu(first: OptimizedModel | None, second: OptimizedModel | None) -> bool:
    """Whether two builds were verified on the same kind of CPU; true if either is unreadable."""
    if first is None or second is None:
        return True
    return (first.cpu, first.cpu_features) == (second.cpu, second.cpu_features)


def _digest(values: Mapping[str, Any]) -> str:
    """The hash of a description, independent of the order of its keys."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _slug(text: str) -> str:
    """A directory name for a text. Two texts may share one; `origin` inside distinguishes them."""
    return re.sub(r"[^\w.-]+", "--", text).strip(".-")[-100:] or "model"
