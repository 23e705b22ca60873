"""The record of a scan, `scan.json`: sources, model, policy, limits, counts, times.

- The rows are in the part files next to it; see `part_files`.
- All rows of a scan have the same model, limits and policy.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from nsfw_app.dataset_errors import ScanError
from nsfw_app.datasets import output_file
from nsfw_app.errors import PolicyError
from nsfw_app.imaging.decode import Limits
from nsfw_app.records import Category, LabelRole, ModelIdentity, Policy
from nsfw_app.review.detail import DetailModel
from nsfw_app.rules.detail import DetailWhen
from nsfw_app.rules.policy import rules_json, rules_of

FORMAT = 1  # version of the files of a scan
FILE = "scan.json"


@dataclass(frozen=True, slots=True)
class ScanCounts:
    """What is in the part files: images, parts, and errors by kind."""

    images: int = 0
    parts: int = 0
    errors: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ScanDetail:
    """The detail model of a scan: which images it was asked about, the categories of its labels."""

    model: ModelIdentity
    when: DetailWhen
    categories: Mapping[str, tuple[Category, ...]]

    @classmethod
    def of(cls, detail: DetailModel) -> Self:
        """The detail model, which is loaded where it is not yet.

        Raises:
            ModelError: It cannot be loaded.
        """
        classifier = detail.loader.wait()
        identity = classifier.identity
        labels = detail.categories.of(identity.model, classifier.roles)
        return cls(identity, detail.when, labels)

    @classmethod
    def of_json(cls, values: Mapping[str, Any]) -> Self:
        """The one that the record of a scan has."""
        return cls(
            ModelIdentity(**values["model"]),
            DetailWhen(values["when"]),
            {
                label: tuple(map(Category, categories))
                for label, categories in values["categories"].items()
            },
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanRecord:
    """How a scan is made, and its counts when it was last finished.

    Attributes:
        sources: As they were named, but as absolute paths, and without credentials.
        model: Computed all predictions.
        roles: The model's labels in its order, each safe or unsafe.
        policy: In force when the scan was started; all rows have its verdicts.
        limits: Largest input accepted.
        started_at: ISO 8601 in UTC.
        finished_at: When all images of the sources had a row; None until then.
        counts: When it was last finished.
        left_out: Files that the sources hold and that are no images, by reason.
        detail: The detail model; None where none was asked.
    """

    sources: tuple[str, ...]
    model: ModelIdentity
    roles: Mapping[str, LabelRole]
    policy: Policy
    limits: Limits
    started_at: str
    finished_at: str | None = None
    counts: ScanCounts = ScanCounts()
    left_out: Mapping[str, int] = field(default_factory=dict)
    detail: ScanDetail | None = None

    @classmethod
    def find(cls, directory: Path) -> Self | None:
        """The record in the directory of a scan; None where there is none.

        Raises:
            ScanError: It cannot be read, or is of a later version of this program.
        """
        path = directory / FILE
        try:
            text = path.read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise ScanError(f"{path} cannot be read: {error.strerror}.") from error
        try:
            values = json.loads(text)
            if values["format"] == FORMAT:
                return cls._of(values)
        except (ValueError, KeyError, TypeError, PolicyError) as error:
            raise ScanError(f"{path} is damaged: it is not the record of a scan.") from error
        raise ScanError(
            f"{path} has format {values['format']}, and this version of the program reads format "
            f"{FORMAT}. Use the version that wrote it."
        )

    @classmethod
    def read(cls, directory: Path) -> Self:
        """The record in the directory of a scan.

        Raises:
            ScanError: There is none, or it cannot be read.
        """
        record = cls.find(directory)
        if record is None:
            raise ScanError(f"{directory} has no {FILE}: it is not the output of a scan.")
        return record

    def write(self, directory: Path) -> None:
        """Write it, replacing an earlier one.

        Raises:
            ScanError: It cannot be written.
        """
        values = {"format": FORMAT, **asdict(self), "policy": _policy_values(self.policy)}
        output_file.write(directory / FILE, (json.dumps(values, indent=2) + "\n").encode())

    @classmethod
    def _of(cls, values: Mapping[str, Any]) -> Self:
        return cls(
            sources=tuple(values["sources"]),
            model=ModelIdentity(**values["model"]),
            roles={label: LabelRole(role) for label, role in values["roles"].items()},
            policy=_policy_of(values["policy"]),
            limits=Limits(**values["limits"]),
            started_at=values["started_at"],
            finished_at=values["finished_at"],
            counts=ScanCounts(**values["counts"]),
            left_out=values["left_out"],
            detail=values.get("detail") and ScanDetail.of_json(values["detail"]),
        )


def _policy_of(values: Mapping[str, Any]) -> Policy:
    return Policy(**{**values, "category_rules": rules_of(values.get("category_rules", ()))})


def _policy_values(policy: Policy) -> dict[str, Any]:
    """The numbers of a policy, without its author and reason, which are the installation's."""
    return {
        "threshold": policy.threshold,
        "review_from": policy.review_from,
        "review_to": policy.review_to,
        "version": policy.version,
        "category_rules": rules_json(policy.category_rules),
        "overrules_allow": policy.overrules_allow,
    }
