"""Where optimized models lie: one directory each, whole or not there.

    engines/<model>/<revision>/
      optimization.json        what `optimize` tried last, and why it did not keep it
      <format>/<build>/
        artefact.json          what it was made of and how it was verified
        model.onnx, or model.xml and model.bin, and the configuration of an image processor

A new build stands beside the old one until it is whole. One build is kept for each kind of CPU.
"""

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
from nsfw_app.models.formats import ORIGINAL_BACKENDS, Format
from nsfw_app.records import Policy

log = logging.getLogger(__name__)

ATTEMPTS = "optimization.json"
ABANDONED_S = 86_400  # what is not whole after a day never will be


@dataclass(frozen=True, slots=True)
class Attempt:
    """A format that `optimize` tried, and in a sentence why it was or was not kept."""

    format: Format
    kept: bool
    outcome: str


def builds_dir(artifacts_dir: Path, origin: ModelVersion, kind: Format) -> Path:
    """The directory in which the builds of a format lie."""
    return _model_dir(artifacts_dir, origin) / kind


def find(artifacts_dir: Path, origin: ModelVersion) -> list[OptimizedModel]:
    """The latest artefact of each format made of exactly these weights, the fastest first."""
    found = (latest(artifacts_dir, origin, kind) for kind in Format)
    return sorted((a for a in found if a is not None), key=lambda a: -a.speedup)


def latest(artifacts_dir: Path, origin: ModelVersion, kind: Format) -> OptimizedModel | None:
    """The latest artefact of a format made of exactly these weights, if there is one.

    One that was verified on this kind of CPU comes before others.
    """
    found = _all(artifacts_dir, origin, kind)
    return next(
        (optimized_model for optimized_model in found if not optimized_model.incompatibility),
        next(iter(found), None),
    )


def verified_backends(artifacts_dir: Path, origin: ModelVersion, policy: Policy) -> frozenset[str]:
    """The backends whose predictions count as predictions of the model itself.

    Those are the original's, and each whose parity report passes under the policy, on whichever CPU
    it was verified.

    Args:
        artifacts_dir: Where optimized models lie.
        origin: The model's weights.
        policy: The policy in force for the model.
    """
    verified = (
        str(kind)
        for kind in Format
        if any(
            optimized_model.passes(policy) for optimized_model in _all(artifacts_dir, origin, kind)
        )
    )
    return ORIGINAL_BACKENDS | frozenset(verified)


def read(directory: Path) -> OptimizedModel | None:
    """The artefact of a directory; None where there is none, or not as it was described."""
    try:
        written = json.loads((directory / DESCRIPTION).read_text(encoding="utf-8"))
        values = written["artefact"]
        if written["sha256"] != _digest(values):
            log.warning("%s was changed after it was written, and is not used.", directory)
            return None
        return OptimizedModel.from_json(directory, values)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


@contextmanager
def new_build(builds: Path) -> Iterator[Path]:
    """An empty directory that becomes the latest build when the block ends without an error."""
    private_files.make_directory(builds)
    build = f"{time.time_ns():020}-{uuid.uuid4().hex}"
    part = builds / f".{build}"
    part.mkdir(mode=0o700)
    try:
        yield part
        private_files.restrict_tree(part)
        part.replace(builds / build)
        _clear(builds, but=build)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def describe(directory: Path, optimized_model: OptimizedModel) -> None:
    """Write what an artefact is beside its files."""
    values = optimized_model.to_json()
    written = {"artefact": values, "sha256": _digest(values)}
    path = directory / DESCRIPTION
    path.write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")


def write_attempts(artifacts_dir: Path, origin: ModelVersion, attempts: Sequence[Attempt]) -> None:
    """Keep what `optimize` tried, in place of what it tried before."""
    path = _model_dir(artifacts_dir, origin) / ATTEMPTS
    private_files.make_directory(path.parent)
    values = {"origin": asdict(origin), "attempts": [asdict(attempt) for attempt in attempts]}
    part = path.with_suffix(f".{uuid.uuid4().hex}")
    part.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    part.replace(path)


def read_attempts(artifacts_dir: Path, origin: ModelVersion) -> list[Attempt]:
    """What `optimize` tried last with these weights, in that order."""
    try:
        values = json.loads(
            (_model_dir(artifacts_dir, origin) / ATTEMPTS).read_text(encoding="utf-8")
        )
        if ModelVersion(**values["origin"]) != origin:
            return []
        return [Attempt(Format(a["format"]), a["kept"], a["outcome"]) for a in values["attempts"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _all(artifacts_dir: Path, origin: ModelVersion, kind: Format) -> list[OptimizedModel]:
    """Every artefact of a format that was made of exactly these weights, the latest first."""
    builds = sorted(builds_dir(artifacts_dir, origin, kind).glob("[0-9]*"), reverse=True)
    return [a for a in map(read, builds) if a is not None and a.origin == origin]


def _model_dir(artifacts_dir: Path, origin: ModelVersion) -> Path:
    return artifacts_dir / _slug(origin.model) / _slug(origin.revision)


def _clear(builds: Path, *, but: str) -> None:
    """Delete what a new build replaces, and what never became one.

    Another writer's work, and builds for other kinds of CPU, are left alone.
    """
    new = read(builds / but)
    for path in builds.iterdir():
        with suppress(FileNotFoundError):  # another writer has put it in its place, or cleared it
            earlier = not path.name.startswith(".") and path.name < but
            replaced = earlier and _same_cpu(new, read(path))
            abandoned = path.name != but and (
                path.name.startswith(".") and path.stat().st_mtime < time.time() - ABANDONED_S
            )
            if replaced or abandoned:
                shutil.rmtree(path, ignore_errors=True)


def _same_cpu(one: OptimizedModel | None, other: OptimizedModel | None) -> bool:
    """Whether two builds were verified on the same kind of CPU; unreadable ones count as such."""
    if one is None or other is None:
        return True
    return (one.cpu, one.cpu_features) == (other.cpu, other.cpu_features)


def _digest(values: Mapping[str, Any]) -> str:
    """The hash of a description, whatever the order it is written in."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _slug(text: str) -> str:
    """A text as the name of a directory. Two may meet in one; what is inside tells them apart."""
    return re.sub(r"[^\w.-]+", "--", text).strip(".-")[-100:] or "model"
