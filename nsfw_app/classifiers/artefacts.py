"""Faster networks on disk: one directory each, whole or not there, with all that says what it is.

    engines/<model>/<revision>/<format>/<build>/
      artefact.json            of which weights, for which runtime and on which CPU it was made, how
                               pictures are prepared, labels, and the scores it was compared by
      model.onnx, or model.xml and model.bin

What always holds: an artefact is only found for exactly the weights and configuration it was made
of; neither its files nor its description are other than when it was verified. A new build stands
beside the old one until it is whole.
"""

import hashlib
import json
import logging
import re
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

from nsfw_app import machine, private_files
from nsfw_app.classifiers import Glance, weights_sha256
from nsfw_app.classifiers.hub import ModelFiles
from nsfw_app.classifiers.preprocessing import Preprocessing
from nsfw_app.errors import ModelUnsupported
from nsfw_app.records import LabelRole, ModelIdentity, Policy
from nsfw_app.verification import NOT_COMPARED, Report, compare

log = logging.getLogger(__name__)

DESCRIPTION = "artefact.json"
CONFIGURATION = ("config.json", "preprocessor_config.json")
ABANDONED_S = 86_400  # what is not whole after a day never will be


class Format(StrEnum):
    """What a model can be turned into; also the backend's name on its predictions."""

    OPENVINO_INT8 = "openvino-int8"
    OPENVINO = "openvino"  # 16-bit floats where the CPU has them, else 32-bit
    ONNX_INT8 = "onnx-int8"
    ONNX = "onnx"
    # A model in 16-bit floats: no files, only the scores and rates that say whether it may.
    OPENVINO_BF16 = "openvino-bf16"  # of the embedded model
    TORCH_BF16 = "torch-bf16"
    TORCH_CUDA_FP16 = "torch-cuda-fp16"
    TORCH_MPS_FP16 = "torch-mps-fp16"

    @property
    def runtime(self) -> str:
        """The package that computes it."""
        return {"openvino": "openvino", "onnx": "onnxruntime"}.get(self.partition("-")[0], "torch")


FILES = (Format.OPENVINO_INT8, Format.OPENVINO, Format.ONNX_INT8, Format.ONNX)  # with files


@dataclass(frozen=True, slots=True)
class Origin:
    """Which weights an artefact was made of."""

    model: str
    revision: str
    weights_sha256: str

    @classmethod
    def of_files(cls, model: str, files: ModelFiles) -> Self:
        """The weights of files; without a commit, the hash of them and their configuration."""
        weights = weights_sha256(files.weights)
        if files.revision:
            return cls(model, files.revision, weights)
        beside = (files.directory / name for name in CONFIGURATION)
        configuration = weights_sha256(path for path in beside if path.is_file())
        revision = hashlib.sha256(f"{weights}{configuration}".encode()).hexdigest()
        return cls(model, revision, weights)

    @classmethod
    def of(cls, identity: ModelIdentity) -> Self:
        """The weights that a prediction names, whatever computed them."""
        return cls(identity.model, identity.revision, identity.weights_sha256)


@dataclass(frozen=True, slots=True)
class Artefact:
    """A faster network. `roles` are its labels', in the model's order.

    `preprocessing` is None where the original prepares the pictures. `scores` are nsfw scores of
    the same photographs, the original's and its own; rates are of the CPU named, 0 where unknown.
    """

    directory: Path
    format: Format
    origin: Origin
    roles: Mapping[str, LabelRole]
    preprocessing: Preprocessing | None
    files_sha256: str
    cpu: str
    cpu_features: frozenset[str]
    runtime_version: str
    images_per_s: float = 0.0
    original_images_per_s: float = 0.0
    scores: tuple[tuple[float, float], ...] = ()
    glances: tuple[Glance, ...] = ()

    @classmethod
    def made_here(
        cls,
        directory: Path,
        kind: Format,
        origin: Origin,
        roles: Mapping[str, LabelRole],
        preprocessing: Preprocessing | None = None,
    ) -> Self:
        """What has just been written into a directory on this CPU, not compared with anything."""
        cpu = machine.cpu()
        return cls(
            directory=directory,
            format=kind,
            origin=origin,
            roles=MappingProxyType(dict(roles)),
            preprocessing=preprocessing,
            files_sha256=_files_sha256(directory),
            cpu=cpu.name,
            cpu_features=cpu.features,
            runtime_version=version(kind.runtime),
        )

    def report(self, policy: Policy) -> Report:
        """How far its scores are from the original's, by a policy; one that failed without any."""
        if not self.scores:
            return NOT_COMPARED
        original, faster = zip(*self.scores, strict=True)
        return compare(original, faster, policy)

    def trusted(self, policy: Policy) -> bool:
        """Whether it may be used without being asked for by name."""
        return self.report(policy).passed

    @property
    def is_faster(self) -> bool:
        """Whether it was faster than the original beside it."""
        return self.images_per_s > self.original_images_per_s > 0

    def backend(self, policy: Policy) -> str:
        """Its name on predictions, so that those of a failed one are never taken for others."""
        return str(self.format) if self.trusted(policy) else f"{self.format}-forced"

    @property
    def misfit(self) -> str:
        """Why it was verified with something else than it would be computed with here, or ''."""
        if self.cpu_features != machine.cpu().features:
            return f"it was verified on another kind of CPU, {self.cpu}"
        if self.runtime_version != version(self.format.runtime):
            return f"it was verified with {self.format.runtime} {self.runtime_version}"
        return ""

    @property
    def recorded_preprocessing(self) -> Preprocessing:
        """How its pictures are prepared.

        Raises:
            ModelUnsupported: That is not recorded.
        """
        if self.preprocessing is None:
            raise ModelUnsupported(f"{self.directory} does not say how pictures are prepared.")
        return self.preprocessing

    def file(self, name: str) -> Path:
        """One of its files."""
        return self.directory / name

    def check(self) -> None:
        """Make sure that its files are those that were verified.

        Raises:
            ModelUnsupported: They are not.
        """
        try:
            same = _files_sha256(self.directory) == self.files_sha256
        except OSError:
            same = False
        if not same:
            raise ModelUnsupported(
                f"{self.directory} is not what was verified. Make it again: "
                f"python -m nsfw_app optimize --format {self.format}."
            )


def place(engines: Path, origin: Origin, kind: Format) -> Path:
    """The directory in which the builds of a format lie."""
    return engines / _slug(origin.model) / _slug(origin.revision) / kind


def find(engines: Path, origin: Origin) -> list[Artefact]:
    """The latest artefact of each format made of exactly these weights, the fastest first."""
    latest = (latest_of(engines, origin, kind) for kind in Format)
    return sorted((a for a in latest if a is not None), key=lambda a: -a.images_per_s)


def latest_of(engines: Path, origin: Origin, kind: Format) -> Artefact | None:
    """The latest artefact of a format that was made of exactly these weights, if there is one."""
    builds = sorted(place(engines, origin, kind).glob("[0-9]*"), reverse=True)
    for artefact in map(read, builds):
        if artefact is not None and artefact.origin == origin:
            return artefact
    return None


def read(directory: Path) -> Artefact | None:
    """The artefact of a directory; None where there is none, or not as it was described."""
    try:
        written = json.loads((directory / DESCRIPTION).read_text(encoding="utf-8"))
        values = written["artefact"]
        if written["sha256"] != _sealed(values):
            log.warning("%s was changed after it was written, and is not used.", directory)
            return None
        prepared = values["preprocessing"]
        return Artefact(
            **values
            | {
                "directory": directory,
                "format": Format(values["format"]),
                "origin": Origin(**values["origin"]),
                "roles": {label: LabelRole(role) for label, role in values["roles"].items()},
                "preprocessing": prepared and Preprocessing.from_json(prepared),
                "cpu_features": frozenset(values["cpu_features"]),
                "glances": tuple(Glance(**glance) for glance in values.get("glances", ())),
                "scores": tuple((one, other) for one, other in values["scores"]),
            }
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


@contextmanager
def writing(builds: Path) -> Iterator[Path]:
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


def describe(directory: Path, artefact: Artefact) -> None:
    """Write what an artefact is beside its files."""
    values: dict[str, Any] = {
        "format": artefact.format,
        "origin": asdict(artefact.origin),
        "roles": dict(artefact.roles),
        "preprocessing": artefact.preprocessing and artefact.preprocessing.to_json(),
        "files_sha256": artefact.files_sha256,
        "cpu": artefact.cpu,
        "cpu_features": sorted(artefact.cpu_features),
        "runtime_version": artefact.runtime_version,
        "images_per_s": artefact.images_per_s,
        "original_images_per_s": artefact.original_images_per_s,
        "scores": artefact.scores,
        "glances": [asdict(glance) for glance in artefact.glances],
    }
    written = {"artefact": values, "sha256": _sealed(values)}
    path = directory / DESCRIPTION
    path.write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")


def _clear(builds: Path, *, but: str) -> None:
    """Delete earlier builds, and what never became one. Another writer's work is left alone."""
    for path in builds.iterdir():
        with suppress(FileNotFoundError):  # another writer has put it in its place, or cleared it
            earlier = not path.name.startswith(".") and path.name < but
            if earlier or path.stat().st_mtime < time.time() - ABANDONED_S:
                shutil.rmtree(path, ignore_errors=True)


def _sealed(values: Mapping[str, Any]) -> str:
    """The hash of a description, whatever the order it is written in."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _files_sha256(directory: Path) -> str:
    """The hash of the network's own files."""
    return weights_sha256(path for path in directory.iterdir() if path.name != DESCRIPTION)


def _slug(text: str) -> str:
    """A text as the name of a directory. Two may meet in one; what is inside tells them apart."""
    return re.sub(r"[^\w.-]+", "--", text).strip(".-")[-100:] or "model"
