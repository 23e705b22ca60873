"""Faster networks on disk: one directory each, whole or not there, with all that says what it is.

    engines/<model>/<revision>/<format>/
      artefact.json    which weights it was made of, on which CPU, how pictures are prepared, labels
      report.json      how far its scores are from the original's
      model.onnx, or model.xml and model.bin

What always holds: an artefact is only found for exactly the revision and weights it was made of;
its files are those that were verified, because their hash stands beside the report.
"""

import json
import re
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

from nsfw_app import machine
from nsfw_app.classifiers import weights_sha256
from nsfw_app.classifiers.hub import ModelFiles
from nsfw_app.classifiers.preprocessing import Preprocessing
from nsfw_app.errors import ModelUnsupported
from nsfw_app.records import ModelIdentity
from nsfw_app.verification import NOT_COMPARED, Report

DESCRIPTION, REPORT = "artefact.json", "report.json"


class Format(StrEnum):
    """What a model can be turned into; also the backend's name on its predictions."""

    OPENVINO_INT8 = "openvino-int8"
    OPENVINO = "openvino"  # 16-bit floats where the CPU has them, else 32-bit
    ONNX_INT8 = "onnx-int8"
    ONNX = "onnx"
    # Torch itself in 16-bit floats: no files, only the report that it may.
    TORCH_BF16 = "torch-bf16"
    TORCH_CUDA_FP16 = "torch-cuda-fp16"
    TORCH_MPS_FP16 = "torch-mps-fp16"


FILES = (Format.OPENVINO_INT8, Format.OPENVINO, Format.ONNX_INT8, Format.ONNX)  # with files


@dataclass(frozen=True, slots=True)
class Origin:
    """Which weights an artefact was made of."""

    model: str
    revision: str
    weights_sha256: str

    @classmethod
    def of_files(cls, model: str, files: ModelFiles) -> Self:
        """The weights of files; without a commit, their hash is the revision, too."""
        digest = weights_sha256(files.weights)
        return cls(model, files.revision or digest, digest)

    @classmethod
    def of(cls, identity: ModelIdentity) -> Self:
        """The weights that a prediction names, whatever computed them."""
        return cls(identity.model, identity.revision, identity.weights_sha256)


@dataclass(frozen=True, slots=True)
class Artefact:
    """A faster network. `labels` are the model's, in its order; rates are of the CPU named.

    `preprocessing` is None where torch prepares the pictures. `forced` says that it is there
    although its report failed.
    """

    directory: Path
    format: Format
    origin: Origin
    labels: tuple[str, ...]
    preprocessing: Preprocessing | None
    files_sha256: str
    cpu: str
    cpu_features: frozenset[str]
    images_per_s: float
    report: Report
    forced: bool
    made_with: Mapping[str, str]

    @classmethod
    def made_here(
        cls,
        directory: Path,
        kind: Format,
        origin: Origin,
        labels: Iterable[str],
        preprocessing: Preprocessing | None = None,
        made_with: Mapping[str, str] = MappingProxyType({}),
    ) -> Self:
        """What has just been written into a directory on this CPU, not compared with anything."""
        cpu = machine.cpu()
        return cls(
            directory=directory,
            format=kind,
            origin=origin,
            labels=tuple(labels),
            preprocessing=preprocessing,
            files_sha256=_files_sha256(directory),
            cpu=cpu.name,
            cpu_features=cpu.features,
            images_per_s=0.0,
            report=NOT_COMPARED,
            forced=False,
            made_with=made_with,
        )

    @property
    def trusted(self) -> bool:
        """Whether it may be used without being asked for by name."""
        return self.report.passed and not self.forced

    def fits(self, features: frozenset[str]) -> bool:
        """Whether it was verified with what this CPU computes with."""
        return self.cpu_features == features

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
        if _files_sha256(self.directory) != self.files_sha256:
            raise ModelUnsupported(
                f"{self.directory} is not what was verified. Make it again: "
                f"python -m nsfw_app optimize --format {self.format}."
            )


def place(engines: Path, origin: Origin, kind: Format) -> Path:
    """The directory of an artefact."""
    return engines / _slug(origin.model) / _slug(origin.revision) / kind


def find(engines: Path, origin: Origin) -> list[Artefact]:
    """The artefacts made of exactly these weights, the fastest first."""
    found = []
    for kind in Format:
        artefact = read(place(engines, origin, kind))
        if artefact is not None and artefact.origin == origin:
            found.append(artefact)
    return sorted(found, key=lambda artefact: -artefact.images_per_s)


def read(directory: Path) -> Artefact | None:
    """The artefact of a directory; None where there is none, or none that can be read."""
    try:
        values = json.loads((directory / DESCRIPTION).read_text(encoding="utf-8"))
        report = json.loads((directory / REPORT).read_text(encoding="utf-8"))
        return Artefact(
            directory=directory,
            format=Format(values["format"]),
            origin=Origin(**values["origin"]),
            labels=tuple(values["labels"]),
            preprocessing=_preprocessing(values["preprocessing"]),
            files_sha256=values["files_sha256"],
            cpu=values["cpu"],
            cpu_features=frozenset(values["cpu_features"]),
            images_per_s=float(values["images_per_s"]),
            report=Report.from_json(report),
            forced=bool(values["forced"]),
            made_with=values["made_with"],
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextmanager
def writing(directory: Path) -> Iterator[Path]:
    """An empty directory that takes the place of another when the block ends without an error."""
    directory.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = directory.with_name(f".{directory.name}.{uuid.uuid4().hex}")
    part.mkdir(mode=0o700)
    try:
        yield part
        if directory.exists():
            old = directory.with_name(f".{directory.name}.{uuid.uuid4().hex}")
            directory.replace(old)
            part.replace(directory)
            shutil.rmtree(old)
        else:
            part.replace(directory)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def describe(directory: Path, artefact: Artefact) -> None:
    """Write what an artefact is beside its files."""
    values: dict[str, Any] = {
        "format": artefact.format,
        "origin": asdict(artefact.origin),
        "labels": artefact.labels,
        "preprocessing": artefact.preprocessing and artefact.preprocessing.to_json(),
        "files_sha256": artefact.files_sha256,
        "cpu": artefact.cpu,
        "cpu_features": sorted(artefact.cpu_features),
        "images_per_s": artefact.images_per_s,
        "forced": artefact.forced,
        "made_with": dict(artefact.made_with),
    }
    for name, content in ((DESCRIPTION, values), (REPORT, artefact.report.to_json())):
        (directory / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _preprocessing(values: Mapping[str, Any] | None) -> Preprocessing | None:
    return None if values is None else Preprocessing.from_json(values)


def _files_sha256(directory: Path) -> str:
    """The hash of the network's own files."""
    written = {DESCRIPTION, REPORT}
    return weights_sha256(path for path in directory.iterdir() if path.name not in written)


def _slug(text: str) -> str:
    """A text as the name of a directory. Two may meet in one; what is inside tells them apart."""
    return re.sub(r"[^\w.-]+", "--", text).strip(".-")[-100:] or "model"
