"""All configuration, read from the environment once and never changed afterwards.

This is the only module that reads environment variables. Each setting is `NSFW_` and its name in
capitals. A Hugging Face Space announces itself with `SPACE_ID`, which changes three defaults:
the address served, the data directory and the journal.
"""

import os
import re
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from nsfw_app.errors import SettingsError
from nsfw_app.rules.permissions import UserRole
from nsfw_app.rules.queue import QueueReason
from nsfw_app.rules.retention import Keep
from nsfw_app.system import usable_cpus

SPACE_DATA_DIR = Path("/data")  # where a Space's bucket is mounted
EVERYWHERE = "0.0.0.0"  # noqa: S104  # a Space is reached through its host's proxy
MAX_POLICY_BYTES = 1_000_000  # far more than people read
MAX_PIXELS = 89_478_485  # Pillow's own default limit: a quarter GiB of 24-bit pixels

ANY_PROXY = "*"
# A dot segment would lead a browser elsewhere.
ROOT_PATH = r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]+)*"

JournalMode = Literal["wal", "delete"]
Score = Annotated[float, Field(ge=0, le=1)]


def _on_space(data: dict[str, Any]) -> bool:
    return bool(data.get("space_id"))


def _data_dir(data: dict[str, Any]) -> Path:
    if _on_space(data) and os.access(SPACE_DATA_DIR, os.W_OK):
        return SPACE_DATA_DIR
    return Path("data")


def _journal_mode(data: dict[str, Any]) -> JournalMode:
    """WAL needs shared memory, which a network mount does not give."""
    mounted = _on_space(data) and SPACE_DATA_DIR in (data["data_dir"], *data["data_dir"].parents)
    return "delete" if mounted else "wal"


def _read_markdown(path: Path) -> str:
    """The text of a file, if people can be expected to read it.

    Raises:
        PydanticCustomError: It cannot be read, is too long, empty, or no text.
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


class Settings(BaseSettings):
    """The settings in force. Construct with `load`, which reports wrong values in words."""

    model_config = SettingsConfigDict(env_prefix="NSFW_", frozen=True, validate_default=True)

    space_id: str = Field("", validation_alias="SPACE_ID", description="Set by Spaces themselves.")
    space_host: str = Field(
        "", validation_alias="SPACE_HOST", description="Set by Spaces themselves."
    )
    forwarded_allow_ips: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        validation_alias="FORWARDED_ALLOW_IPS",
        description="IP addresses and networks of the reverse proxies whose X-Forwarded-For, "
        "-Proto, -Host and -Prefix are believed, separated by commas; `*` for every peer.",
    )
    oauth_client_id: str = Field(
        "", validation_alias="OAUTH_CLIENT_ID", description="Set by a Space with hf_oauth."
    )
    oauth_client_secret: str = Field(
        "", validation_alias="OAUTH_CLIENT_SECRET", description="Set by a Space with hf_oauth."
    )
    oauth_provider_url: str = Field(
        "https://huggingface.co",
        validation_alias="OPENID_PROVIDER_URL",
        description="Set by a Space with hf_oauth.",
    )

    model: str = Field(
        "auto",
        min_length=1,
        description="A model's hub id or local directory; `open-nsfw` for the embedded one; `auto` "
        "for Falconsai where it can be had and Open-NSFW elsewhere.",
    )
    model_revision: str = Field("main", description="Branch, tag or commit of a hub model.")
    backend: Literal[
        "auto",
        "torch",
        "openvino-int8",
        "openvino-int8-mixed",
        "openvino",
        "openvino-fp32",
        "onnx-int8",
        "onnx",
    ] = Field(
        "auto",
        description="What computes the model: `auto` for the fastest that is verified, `torch` for "
        "32-bit floats, or a format of `optimize`.",
    )
    batch_size: int = Field(
        8, gt=0, le=256, description="Images computed at once. A GPU has use for more than 8."
    )
    unsafe_labels: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Comma-separated labels that count as unsafe, for labels nobody knows."
    )
    data_dir: Path = Field(
        default_factory=_data_dir,
        description="Directory of the database and pictures. On a Space `/data` when writable.",
    )
    journal_mode: JournalMode = Field(
        default_factory=_journal_mode,
        description="SQLite's journal. `wal` only on a local disk; `delete` on a network mount.",
    )
    host: str = Field(
        default_factory=lambda data: EVERYWHERE if _on_space(data) else "127.0.0.1",
        description="Address to serve. Anything but this machine needs users who sign in.",
    )
    port: int = Field(7860, ge=0, le=65535, description="TCP port to serve.")
    root_path: str = Field(
        "",
        description="The prefix of the page's public address that a reverse proxy strips, such as "
        "`/review`.",
    )
    reviewer: str = Field(
        "reviewer", min_length=1, max_length=100, description="The local reviewer's name."
    )
    hub_roles: Annotated[dict[str, UserRole], NoDecode] = Field(
        {},
        description="On a Space: who may do more than try it, by the name of a person or an "
        "organisation: `ann=admin,my-org=reviewer`.",
    )
    threshold: Score | None = Field(
        None, description="Threshold of the first policy, in [0, 1]. Default: the model's."
    )
    review_from: Score = Field(
        0.2, description="Where the first policy's review band starts, in [0, 1]."
    )
    review_to: Score = Field(
        0.8, description="Where the first policy's review band ends, in [0, 1]."
    )
    max_file_mb: float = Field(
        50, gt=0, allow_inf_nan=False, description="Largest file accepted, in megabytes."
    )
    max_pixels: int = Field(
        MAX_PIXELS, gt=0, le=2 * MAX_PIXELS, description="Most pixels in one frame."
    )
    max_frames: int = Field(16, gt=0, le=256, description="Most frames looked at in one file.")
    max_waiting: int = Field(
        64,
        gt=0,
        description="Images that may wait for the model, uploads that may arrive and requests that "
        "may be judged at once; one caller may use a quarter of it.",
    )
    fetch_urls: bool = Field(
        False, description="Whether `/v1/moderations` may fetch images from the public internet."
    )
    max_files: int = Field(500, gt=0, description="Most files in one gallery upload.")
    queue_rules: Annotated[tuple[QueueReason, ...], NoDecode] = Field(
        (QueueReason.REVIEW, QueueReason.SECOND_OPINION, QueueReason.DISAGREEMENT),
        description="What lets an image into the queue, separated by commas: review, "
        "second_opinion, disagreement, audit.",
    )
    audit_rate: Score = Field(
        0.0, description="Share of the images outside the band drawn for audit, in [0, 1]."
    )
    answers: Annotated[dict[QueueReason, Annotated[int, Field(gt=0)]], NoDecode] = Field(
        {},
        description="How many agreeing answers an image needs, by reason: "
        "`second_opinion=2,disagreement=2,review=1,audit=1`.",
    )
    keep_images: Keep = Field(
        Keep.DISAGREEMENTS,
        description="Of which images a picture is kept: `disagreements`, `all` or `none`.",
    )
    keep_days: int = Field(30, gt=0, description="Days after which a picture is deleted.")
    policy_text: Path | None = Field(
        None,
        description="Path of a Markdown file with the moderation policy, shown by the key P.",
    )
    pause_after: int = Field(
        100, ge=0, description="Revealed images after which a pause is suggested; 0 for never."
    )
    threads: int = Field(
        default_factory=usable_cpus,
        gt=0,
        description="CPU threads for the model. Default: the CPUs this process may use.",
    )

    @field_validator("answers", "hub_roles", mode="before")
    @classmethod
    def _pairs(cls, value: object) -> object:
        if isinstance(value, str):
            pairs = [pair.partition("=") for pair in value.split(",") if pair.strip()]
            return {reason.strip(): number.strip() for reason, _, number in pairs}
        return value

    @field_validator("forwarded_allow_ips", "unsafe_labels", "queue_rules", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(label.strip() for label in value.split(",") if label.strip())
        return value

    @field_validator("forwarded_allow_ips")
    @classmethod
    def _networks(cls, named: tuple[str, ...]) -> tuple[str, ...]:
        for one in named:
            if one != ANY_PROXY:
                ip_network(one)
        return named

    @field_validator("root_path")
    @classmethod
    def _prefix(cls, value: str) -> str:
        path = value.rstrip("/")
        if not re.fullmatch(ROOT_PATH, path):
            raise PydanticCustomError(
                "root_path", "It is not a path of letters, digits and . _ ~ - that begins with /"
            )
        return path

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
    def database(self) -> Path:
        """The SQLite file."""
        return self.data_dir / "review.db"

    @property
    def previews_dir(self) -> Path:
        """Pictures kept for reviewers, by hash."""
        return self.data_dir / "images"

    @property
    def artifacts_dir(self) -> Path:
        """Optimized models."""
        return self.data_dir / "engines"

    @property
    def uploads_root(self) -> Path:
        """Temporary uploads of all servers that use this data directory."""
        return self.data_dir / "uploads"

    @property
    def uploads_dir(self) -> Path:
        """Temporary uploads of the server on this port; emptied at start."""
        return self.uploads_root / str(self.port)

    @property
    def private_paths(self) -> list[Path]:
        """What only this account may read: the data directory, unless other things lie there too.

        Then it is what this program writes into it.
        """
        own = {self.previews_dir, self.artifacts_dir, self.uploads_root}
        own |= set(self.data_dir.glob(f"{self.database.name}*"))  # its log, its key, copies
        return sorted(own) if set(self.data_dir.iterdir()) - own else [self.data_dir]

    @property
    def policy_markdown(self) -> str | None:
        """What the policy text says now, or None where none is set."""
        return None if self.policy_text is None else _read_markdown(self.policy_text)

    @property
    def on_space(self) -> bool:
        """Whether this runs as a Hugging Face Space."""
        return bool(self.space_id)

    @property
    def hub_sign_in(self) -> bool:
        """Whether people sign in with their Hugging Face account."""
        return self.on_space and bool(self.oauth_client_id and self.oauth_client_secret)

    @property
    def local_only(self) -> bool:
        """Whether only this machine can reach the page."""
        return self.host in {"127.0.0.1", "localhost"}


def environment(**chosen: str) -> dict[str, str]:
    """This process's environment for another one, with these settings and no others."""
    foreign = ("NSFW_", "SPACE_", "SYSTEM", "FORWARDED_")
    return {k: v for k, v in os.environ.items() if not k.startswith(foreign)} | chosen


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
        # A default that depends on a wrong value is not itself wrong.
        wrong = [e for e in error.errors() if e["type"] != "default_factory_not_called"]
        raise SettingsError("\n".join(map(_sentence, wrong))) from None


def _sentence(error: Any) -> str:
    if not error["loc"]:
        return str(error["ctx"]["error"])
    name = str(error["loc"][0]).lower()
    field = Settings.model_fields[name]
    variable = field.validation_alias or f"NSFW_{name.upper()}"
    return f"{variable}={error['input']!r}: {error['msg']}. {field.description}"
