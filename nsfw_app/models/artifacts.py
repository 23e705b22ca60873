"""Optimized models: which weights each was built from, and how it was verified.

- An optimized model is only used for exactly the weights and configuration it was built from.
- It is not used once its files or its description differ from what was verified.

`build_files` reads and writes them on disk.
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
from nsfw_app.models.hub import ModelFiles
from nsfw_app.models.optimized_formats import Format
from nsfw_app.models.parity import NOT_COMPARED, ParityReport, compare
from nsfw_app.models.preprocessing import Preprocessing
from nsfw_app.records import LabelRole, ModelIdentity, Policy

DESCRIPTION = "artefact.json"  # spelled as in the first version, so that its files stay readable
CONFIGURATION = (CONFIG, PROCESSOR_CONFIG)
# How many times as fast as the original an optimized model must be to be used. Smaller gains are
# within what the speed of one machine varies from day to day.
MIN_SPEEDUP = 1.1


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """Identifies the original weights of an optimized model or a prediction."""

    model: str
    revision: str
    weights_sha256: str

    @classmethod
    def of_files(cls, model: str, files: ModelFiles) -> Self:
        """The version of a model's files.

        - Without a commit, the revision is the hash of weights and configuration.
        - A model in a directory has the directory's name, not its path, because the name is on
          every prediction, which not only the operator sees.
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
        """The version that a prediction names, without its backend."""
        return cls(identity.model, identity.revision, identity.weights_sha256)


@dataclass(frozen=True, slots=True)
class OptimizedModel:
    """An optimized model, or a model in half precision, which has a report but no files.

    - `roles` has every label, in the model's order.
    - `preprocessing` is None where the model's own image processor prepares the images.
    - `scores` are pairs of nsfw scores of the same views, the original's and its own; `images`
      counts the different images in them, 0 where that was not recorded.
    - `one_by_one` is true where an image would get another score in a batch than alone.
    - `speedup` is `images_per_s` divided by `original_images_per_s`, measured against the original
      in 32-bit floats on the named CPU. All three are 0 where they are not known.
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
        """A model just written into a directory on this CPU, not compared with the original yet."""
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
        """The optimized model that `to_json` described.

        Raises:
            ValueError, KeyError, TypeError, AttributeError: The values are not such a description.
        """
        values = dict(values)
        preprocessing = values["preprocessing"]
        rules = values.pop("glances", ())  # spelled as in the first version, see DESCRIPTION
        return cls(
            **values
            | {
                "directory": directory,
                "format": Format(values["format"]),
                "origin": ModelVersion(**values["origin"]),
                "roles": {label: LabelRole(role) for label, role in values["roles"].items()},
                "preprocessing": preprocessing and Preprocessing.from_json(preprocessing),
                "cpu_features": frozenset(values["cpu_features"]),
                "downscale_rules": tuple(
                    DownscaleRule(rule["pixels"], rule["below"]) for rule in rules
                ),
                "scores": tuple((one, other) for one, other in values["scores"]),
                "speedup": values.get("speedup") or _unpaired_speedup(values),
            }
        )

    def to_json(self) -> dict[str, Any]:
        """Everything but its directory, for a file."""
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
        """Its parity report under a policy; `NOT_COMPARED` where there are no scores."""
        if not self.scores:
            return NOT_COMPARED
        original, optimized = zip(*self.scores, strict=True)
        return compare(original, optimized, policy, images=self.images)

    def passes(self, policy: Policy) -> bool:
        """Whether it may be used without being named by NSFW_BACKEND."""
        return self.report(policy).passed

    @property
    def is_faster(self) -> bool:
        """Whether it was measured to be faster than the original, by more than noise."""
        return self.speedup >= MIN_SPEEDUP

    def backend(self, policy: Policy) -> str:
        """Its name on predictions; one whose parity report failed has a name of its own."""
        return str(self.format) if self.passes(policy) else f"{self.format}-forced"

    @property
    def incompatibility(self) -> str:
        """Why its verification does not hold on this machine, or ''.

        The scores of an optimized model depend on the CPU's instructions and the runtime's
        version. Whether half precision is faster depends on the CPU's name, too.
        """
        cpu = system.cpu()
        same_kind = self.cpu_features == cpu.features
        if not same_kind or (not self.format.has_files and self.cpu != cpu.name):
            return f"it was verified on another kind of CPU, {self.cpu}"
        if self.runtime_version != version(self.format.runtime):
            return f"it was verified with {self.format.runtime} {self.runtime_version}"
        return ""

    def file(self, name: str) -> Path:
        """The path of one of its files."""
        return self.directory / name

    def check(self) -> None:
        """Check that its files are those that were verified.

        Raises:
            ModelUnsupported: They are not.
        """
        try:
            unchanged = _files_sha256(self.directory) == self.files_sha256
        except OSError:
            unchanged = False
        if not unchanged:
            raise ModelUnsupported(
                f"The files of the {self.format} model of '{display_name(self.origin.model)}' "
                "changed after it was verified. Build it again: "
                f"python -m nsfw_app optimize --format {self.format}."
            )


def configuration_files(directory: Path) -> list[Path]:
    """The configuration files that a model's directory has."""
    return [path for name in CONFIGURATION if (path := directory / name).is_file()]


def _unpaired_speedup(values: Mapping[str, Any]) -> float:
    """The speed-up of a model whose description has none, written by an earlier version.

    That version timed half precision once in each precision. It did not time models with files
    against torch, and used them whenever they were verified.
    """
    rate, original = values["images_per_s"], values["original_images_per_s"]
    if original:
        return float(rate / original)
    return MIN_SPEEDUP if Format(values["format"]).has_files else 0.0


def _files_sha256(directory: Path) -> str:
    """The hash of the model's files, without its description."""
    return weights_sha256(path for path in directory.iterdir() if path.name != DESCRIPTION)
