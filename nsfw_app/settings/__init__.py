"""All configuration, read from environment variables once at start.

- This is the only package that reads the environment. A setting's variable is `NSFW_` and its name
  in capitals.
- `bootstrap.py` and `server.py` pass the values on; `docs/settings.md` documents them.
- `SPACE_ID`, which Hugging Face Spaces set, changes three defaults: host, journal mode and the
  directory of snapshots.
- Each module defines the settings of one subject as a base class of `Settings`.
"""

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import NoDecode

from nsfw_app.errors import AuditPlanError, SettingsError
from nsfw_app.records import IMPORT_PREFIX, Tab, is_import_source
from nsfw_app.rules.audit_plan import AuditPlan, AuditRange, parse_ranges
from nsfw_app.rules.queue import DEFAULT_BLIND, EntryReason, QueueReason
from nsfw_app.rules.retention import Keep
from nsfw_app.settings.detail import DetailSettings
from nsfw_app.settings.hub_dataset import HubDatasetSettings
from nsfw_app.settings.monitoring import MonitoringSettings
from nsfw_app.settings.sign_in import SignInSettings
from nsfw_app.settings.storage import StorageSettings
from nsfw_app.settings.values import BackendName, split_items, split_pairs
from nsfw_app.system import usable_cpus

DEFAULT_BATCH_SIZE = 8  # images; measured, no model is faster on a CPU with more
MAX_POLICY_BYTES = 1_000_000  # longer than any real policy
PREFIX = "NSFW_"
MAX_PIXELS = 89_478_485  # Pillow's own default limit: a quarter GiB of 24-bit pixels

Score = Annotated[float, Field(ge=0, le=1)]


def _read_markdown(path: Path) -> str:
    """The text of a Markdown file.

    Raises:
        PydanticCustomError: The file cannot be read, is too long, empty, or not UTF-8.
    """
    wrong = None
    text = ""
    try:
        if not path.is_file():
            wrong = "it is a directory" if path.is_dir() else "there is no such file"
        elif path.stat().st_size > MAX_POLICY_BYTES:
            wrong = f"it has more than {MAX_POLICY_BYTES} bytes"
        else:
            text = path.read_text(encoding="utf-8-sig")
            wrong = None if text.strip() else "it is empty"
    except OSError as error:
        wrong = (error.strerror or str(error)).lower()
    except UnicodeDecodeError:
        wrong = "it is not UTF-8 text"
    if wrong:
        raise PydanticCustomError("policy_text", "Cannot be read: {wrong}", {"wrong": wrong})
    return text


class Settings(
    StorageSettings, SignInSettings, HubDatasetSettings, MonitoringSettings, DetailSettings
):
    """The settings. Construct with `load`, which turns validation errors into `SettingsError`."""

    model: str = Field(
        "auto",
        min_length=1,
        description="Hub id or local directory of a model; `open-nsfw` for the embedded one; "
        "`auto` for Falconsai where it is available and Open-NSFW elsewhere.",
    )
    model_revision: str = Field("main", description="Branch, tag or commit of a hub model.")
    backend: BackendName = Field(
        "auto",
        description="Backend of the model: `auto` for the fastest verified one, `torch` for 32-bit "
        "floats, or a format of `optimize`.",
    )
    batch_size: int = Field(
        DEFAULT_BATCH_SIZE,
        gt=0,
        le=256,
        description="Largest batch of images. A GPU is faster with more than 8.",
    )
    unsafe_labels: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Labels that count as unsafe, separated by commas, for models with unknown "
        "labels.",
    )
    reviewer: str = Field(
        "reviewer",
        min_length=1,
        max_length=100,
        description="Name of the local reviewer, where there are no users.",
    )
    threshold: Score | None = Field(
        None, description="Threshold of the first policy, in [0, 1]. Default: that of the model."
    )
    review_from: Score = Field(
        0.2, description="Lower end of the first policy's review band, in [0, 1]."
    )
    review_to: Score = Field(
        0.8, description="Upper end of the first policy's review band, in [0, 1]."
    )
    max_file_mb: float = Field(
        50,
        gt=0,
        allow_inf_nan=False,
        description="Largest file accepted, in megabytes (1,000,000 bytes).",
    )
    max_pixels: int = Field(
        MAX_PIXELS, gt=0, le=2 * MAX_PIXELS, description="Most pixels of one frame."
    )
    max_frames: int = Field(16, gt=0, le=256, description="Most frames classified of one file.")
    max_waiting: int = Field(
        64,
        gt=0,
        description="Most images that wait for the model, uploads that arrive and requests that "
        "are classified at once; one caller may use a quarter of each.",
    )
    fetch_urls: bool = Field(
        False, description="Whether `/v1/moderations` may fetch images from the public internet."
    )
    max_files: int = Field(500, gt=0, description="Most files in one gallery upload.")
    queue_rules: Annotated[tuple[QueueReason, ...], NoDecode] = Field(
        (QueueReason.REVIEW, QueueReason.SECOND_OPINION, QueueReason.DISAGREEMENT),
        description="Reasons for which images enter the queue, separated by commas: review, "
        "second_opinion, disagreement, audit.",
    )
    audit_rate: Score = Field(
        0.0, description="Share of the images outside the review band sampled for audit, in [0, 1]."
    )
    audit_plan: Annotated[tuple[AuditRange, ...], NoDecode] = Field(
        (),
        description="Audit rates by range of scores, in place of `NSFW_AUDIT_RATE`: "
        "`0-0.05=0.005,0.05-0.2=0.1,0.8-1=0.05`. Ranges must not overlap.",
    )
    answers: Annotated[dict[QueueReason, Annotated[int, Field(gt=0)]], NoDecode] = Field(
        {},
        description="How many agreeing decisions an image needs, by reason: "
        "`second_opinion=2,disagreement=2,review=1,audit=1`.",
    )
    blind_reasons: Annotated[tuple[EntryReason, ...], NoDecode] = Field(
        tuple(reason for reason in EntryReason if reason in DEFAULT_BLIND),
        description="Reasons for which the Queue tab hides score and verdict until the decision, "
        "separated by commas: adjudication, second_opinion, disagreement, review, audit. Empty "
        "hides none.",
    )
    keep_images: Keep = Field(
        Keep.DISAGREEMENTS,
        description="Images whose previews are kept: `disagreements`, `all` or `none`.",
    )
    keep_days: int = Field(30, gt=0, description="Days after which a preview is deleted.")
    preview_grace_minutes: int = Field(
        60,
        ge=0,
        description="Minutes for which a preview is kept after a decision about its image.",
    )
    require_seen: Annotated[tuple[Tab, ...], NoDecode] = Field(
        (Tab.QUEUE, Tab.RELABEL),
        description="Tabs that refuse decisions on images which the reviewer has not revealed, "
        "separated by commas: review, gallery, queue, relabel; `none` for no tab.",
    )
    require_reason: bool = Field(
        False, description="Whether a decision that contradicts the model needs a reason."
    )
    escalation_text: str = Field(
        "",
        max_length=10_000,
        description="What reviewers must do about an image with a minor; shown when they choose "
        "that reason.",
    )
    policy_text: Path | None = Field(
        None,
        description="Path of a Markdown file with the moderation policy, which the key P shows.",
    )
    pause_after: int = Field(
        100, ge=0, description="Revealed images after which a pause is suggested; 0 for never."
    )
    threads: int = Field(
        default_factory=usable_cpus,
        gt=0,
        description="CPU threads for the model. Default: the CPUs this process may use.",
    )

    @field_validator("answers", mode="before")
    @classmethod
    def _pairs(cls, value: object) -> object:
        return split_pairs(value)

    @field_validator("unsafe_labels", "queue_rules", "blind_reasons", mode="before")
    @classmethod
    def _items(cls, value: object) -> object:
        return split_items(value)

    @field_validator("audit_plan", mode="before")
    @classmethod
    def _ranges(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        try:
            return AuditPlan(ranges=parse_ranges(value)).ranges
        except AuditPlanError as error:
            raise PydanticCustomError("audit_plan", str(error)) from error

    @field_validator("require_seen", mode="before")
    @classmethod
    def _tabs(cls, value: object) -> object:
        if isinstance(value, str):
            tabs = [tab.strip() for tab in value.split(",") if tab.strip()]
            return () if tabs == ["none"] else tuple(tabs)
        return value

    @field_validator("reviewer")
    @classmethod
    def _person(cls, name: str) -> str:
        if is_import_source(name):
            raise PydanticCustomError(
                "reviewer", f"A name that begins with {IMPORT_PREFIX} is that of imported labels"
            )
        return name

    @field_validator("policy_text", mode="before")
    @classmethod
    def _no_path(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("policy_text")
    @classmethod
    def _readable(cls, path: Path | None) -> Path | None:
        if path is not None:
            _read_markdown(path)
        return path

    @model_validator(mode="after")
    def _audited(self) -> Self:
        if (self.audit_rate or self.audit_plan) and QueueReason.AUDIT not in self.queue_rules:
            rules = ",".join([*self.queue_rules, QueueReason.AUDIT])
            raise ValueError(f"To draw audits, set NSFW_QUEUE_RULES={rules}, too.")
        return self

    @model_validator(mode="after")
    def _one_copy(self) -> Self:
        if self.hub_dataset and self.snapshot_dir:
            raise ValueError(
                f"NSFW_HUB_DATASET={self.hub_dataset!r} and NSFW_SNAPSHOT_DIR="
                f"{str(self.snapshot_dir)!r} are both set, and an empty data directory would be "
                "restored from either. Unset the first, or set the second one to nothing."
            )
        return self

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        inside = self.review_from if self.threshold is None else self.threshold
        if not self.review_from <= inside <= self.review_to:
            raise ValueError(
                f"NSFW_REVIEW_FROM ({self.review_from}), NSFW_THRESHOLD ({self.threshold}) and "
                f"NSFW_REVIEW_TO ({self.review_to}) must not decrease in this order."
            )
        return self

    @property
    def max_bytes(self) -> int:
        """Largest file accepted, in bytes."""
        return int(self.max_file_mb * 1_000_000)

    @property
    def policy_markdown(self) -> str | None:
        """The current moderation policy, or None where none is set."""
        return None if self.policy_text is None else _read_markdown(self.policy_text)


def environment(**chosen: str) -> dict[str, str]:
    """The environment for a child process, with these settings and no others."""
    foreign = ("NSFW_", "SPACE_", "SYSTEM", "FORWARDED_")
    return {k: v for k, v in os.environ.items() if not k.startswith(foreign)} | chosen


def unknown_variables() -> Mapping[str, str]:
    """Variables of the environment that begin with `NSFW_` and are no settings.

    Returns:
        By their names, the setting with the most similar name; empty where none is similar.
    """
    known = {_variable(name) for name in Settings.model_fields}
    unknown = sorted(
        name for name in os.environ if name.upper().startswith(PREFIX) and name.upper() not in known
    )
    return {
        name: next(iter(difflib.get_close_matches(name.upper(), known, n=1)), "")
        for name in unknown
    }


def load(**overrides: Any) -> Settings:
    """Read the settings.

    Args:
        overrides: Values by field name that win over the environment.

    Raises:
        SettingsError: A value is not allowed; the message names each with its value.
    """
    try:
        return Settings(**overrides)
    except ValidationError as error:
        # A default that depends on an invalid value is not itself invalid.
        wrong = [e for e in error.errors() if e["type"] != "default_factory_not_called"]
        raise SettingsError("\n".join(map(_sentence, wrong))) from None


def _sentence(error: Any) -> str:
    if not error["loc"]:
        return str(error["ctx"]["error"])
    name = str(error["loc"][0]).lower()
    description = Settings.model_fields[name].description
    return f"{_variable(name)}={error['input']!r}: {error['msg'].rstrip('.')}. {description}"


def _variable(name: str) -> str:
    """The environment variable of a setting."""
    return str(Settings.model_fields[name].validation_alias or f"{PREFIX}{name.upper()}")
