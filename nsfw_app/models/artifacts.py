"""Optimized models: of which weights each was made, and how it was verified.

`builds` says where they lie. An artefact is only used for exactly the weights and configuration it
was made of, and while neither its files nor its description are other than when it was verified.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

from nsfw_app import system
from nsfw_app.errors import ModelUnsupported
from nsfw_app.models.cards import display_name
from nsfw_app.models.checkpoints import CONFIG, PROCESSOR_CONFIG
from nsfw_app.models.classifier import DownscaleRule, weights_sha256
from nsfw_app.models.formats import Format
from nsfw_app.models.hub import ModelFiles
from nsfw_app.models.parity import NOT_COMPARED, ParityReport, compare
from nsfw_app.models.preprocessing import Preprocessing
from nsfw_app.records import LabelRole, ModelIdentity, Policy

DESCRIPTION = "artefact.json"
CONFIGURATION = (CONFIG, PROCESSOR_CONFIG)
# How many times as fast as the original, in the median of paired measurements, an optimized model
# must be to be used. What is gained below is within what one machine differs from day to day.
MIN_SPEEDUP = 1.1


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """Which weights an artefact was made of."""

    model: str
    revision: str
    weights_sha256: str

    @classmethod
    def of_files(cls, model: str, files: ModelFiles) -> Self:
        """The weights of files; without a commit, the hash of them and their configuration.

        A model in a directory is named by the directory, not by its path: the name stands on
        every prediction, which others than the operator see.
        """
        model = display_name(model)
        weights = weights_sha256(files.weights)
        if files.revision:
            return cls(model, files.revision, weights)
        configuration = weights_sha256(configuration_files(files.directory))
        revision = hashlib.sha256(f"{weights}{configuration}".encode()).hexdigest()
        return cls(model, revision, weights)

    @classmethod
    def of(cls, identity: ModelIdentity) -> Self:
        """The weights that a prediction names, whatever computed them."""
        return cls(identity.model, identity.revision, identity.weights_sha256)


@dataclass(frozen=True, slots=True)
class OptimizedModel:
    """An optimized model, or a model in half precision, which has no files but a report.

    - `roles` are its labels', in the model's order.
    - `preprocessing` is None where the model's own image processor prepares the images.
    - `scores` are nsfw scores of the same views, the original's and its own; `images` counts the
      different images in them, 0 where that was not recorded.
    - `one_by_one` says that images computed in one batch would get other scores than alone.
    - `speedup` is the median of paired measurements against the original in 32-bit floats on the
      CPU named; the rates are the medians of each. All are 0 where they are not known.
    """

    directory: Path
    format: Format
    origin: ModelVersion
    roles: Mapping[str, LabelRole]
    preprocessing: Preprocessing | None
    files_sha256: str
    cpu: str
    cpu_features: frozenset[str]
    runtime_version: str
    images_per_s: float = 0.0
    original_images_per_s: float = 0.0
    speedup: float = 0.0
    scores: tuple[tuple[float, float], ...] = ()
    images: int = 0
    one_by_one: bool = False
    downscale_rules: tuple[DownscaleRule, ...] = ()

    @classmethod
    def from_directory(
        cls,
        directory: Path,
        kind: Format,
        origin: ModelVersion,
        roles: Mapping[str, LabelRole],
        preprocessing: Preprocessing | None = None,
    ) -> Self:
        """What has just been written into a directory on this CPU, not compared with anything."""
        cpu = system.cpu()
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

    @classmethod
    def from_json(cls, directory: Path, values: Mapping[str, Any]) -> Self:
        """The artefact that `to_json` described.

        Raises:
            ValueError, KeyError, TypeError, AttributeError: It is not described like this.
        """
        values = dict(values)
        prepared = values["preprocessing"]
        rules = values.pop("glances", ())  # the key keeps the name it has in earlier files
        return cls(
            **values
            | {
                "directory": directory,
                "format": Format(values["format"]),
                "origin": ModelVersion(**values["origin"]),
                "roles": {label: LabelRole(role) for label, role in values["roles"].items()},
                "preprocessing": prepared and Preprocessing.from_json(prepared),
                "cpu_features": frozenset(values["cpu_features"]),
                "downscale_rules": tuple(
                    DownscaleRule(rule["pixels"], rule["below"]) for rule in rules
                ),
                "scores": tuple((one, other) for one, other in values["scores"]),
                "speedup": values.get("speedup") or _unpaired_speedup(values),
            }
        )

    def to_json(self) -> dict[str, Any]:
        """Everything but where it lies, for a file."""
        return {
            "format": self.format,
            "origin": asdict(self.origin),
            "roles": dict(self.roles),
            "preprocessing": self.preprocessing and self.preprocessing.to_json(),
            "files_sha256": self.files_sha256,
            "cpu": self.cpu,
            "cpu_features": sorted(self.cpu_features),
            "runtime_version": self.runtime_version,
            "images_per_s": self.images_per_s,
            "original_images_per_s": self.original_images_per_s,
            "speedup": self.speedup,
            "scores": self.scores,
            "images": self.images,
            "one_by_one": self.one_by_one,
            "glances": [
                {"pixels": rule.min_side, "below": rule.max_score} for rule in self.downscale_rules
            ],
        }

    def report(self, policy: Policy) -> ParityReport:
        """How far its scores are from the original's, by a policy; one that failed without any."""
        if not self.scores:
            return NOT_COMPARED
        original, optimized = zip(*self.scores, strict=True)
        return compare(original, optimized, policy, images=self.images)

    def passes(self, policy: Policy) -> bool:
        """Whether it may be used without being asked for by name."""
        return self.report(policy).passed

    @property
    def is_faster(self) -> bool:
        """Whether it was measured to be faster than the original, by more than chance."""
        return self.speedup >= MIN_SPEEDUP

    def backend(self, policy: Policy) -> str:
        """Its name on predictions, so that those of a failed one are never taken for others."""
        return str(self.format) if self.passes(policy) else f"{self.format}-forced"

    @property
    def incompatibility(self) -> str:
        """Why it was verified with something else than it would be computed with here, or ''.

        What an optimized model computes depends on the CPU's instructions. Whether half precision
        is worth it depends on the model of the CPU as well.
        """
        cpu = system.cpu()
        same_kind = self.cpu_features == cpu.features
        if not same_kind or (not self.format.has_files and self.cpu != cpu.name):
            return f"it was verified on another kind of CPU, {self.cpu}"
        if self.runtime_version != version(self.format.runtime):
            return f"it was verified with {self.format.runtime} {self.runtime_version}"
        return ""

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
                f"The {self.format} model of '{display_name(self.origin.model)}' is not what was "
                f"verified. Make it again: python -m nsfw_app optimize --format {self.format}."
            )


def configuration_files(directory: Path) -> list[Path]:
    """A model's configuration, as far as it is there."""
    return [path for name in CONFIGURATION if (path := directory / name).is_file()]


def _unpaired_speedup(values: Mapping[str, Any]) -> float:
    """The speed-up of an artefact whose description is of an earlier version.

    Half precision was timed once with each precision; models with files were not timed against
    torch and were used whenever they were verified.
    """
    rate, original = values["images_per_s"], values["original_images_per_s"]
    if original:
        return float(rate / original)
    return MIN_SPEEDUP if Format(values["format"]).has_files else 0.0


def _files_sha256(directory: Path) -> str:
    """The hash of the model's own files."""
    return weights_sha256(path for path in directory.iterdir() if path.name != DESCRIPTION)
