"""Settings of where data is stored: the data directory, and snapshots on mounted storage."""

import os
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from nsfw_app.settings.network import NetworkSettings, is_on_space

SPACE_DATA_DIR = Path("/data")  # where a Space's bucket is mounted

DATABASE = "review.db"
OLD_DATA = (DATABASE, "snapshots")  # in the bucket, by earlier versions or settings

JournalMode = Literal["wal", "delete"]


def _journal_mode(data: dict[str, Any]) -> JournalMode:
    """WAL needs shared memory, which a network mount does not provide."""
    return "delete" if is_on_space(data) and _in_bucket(data.get("data_dir")) else "wal"


def _snapshot_dir(data: dict[str, Any]) -> Path | None:
    """The bucket of a Space, unless the database is in it, or is saved in a repository only."""
    mounted = is_on_space(data) and os.access(SPACE_DATA_DIR, os.W_OK)
    if data.get("hub_dataset") and not any((SPACE_DATA_DIR / name).exists() for name in OLD_DATA):
        return None
    return SPACE_DATA_DIR if mounted and not _in_bucket(data.get("data_dir")) else None


def _in_bucket(data_dir: Path | None) -> bool:
    return data_dir is not None and SPACE_DATA_DIR in (data_dir, *data_dir.parents)


class StorageSettings(NetworkSettings):
    """Directories of data."""

    data_dir: Path = Field(Path("data"), description="Directory of the database and previews.")
    journal_mode: JournalMode = Field(
        default_factory=_journal_mode,
        description="Journal mode of SQLite: `wal` on a local disk, `delete` on a network mount.",
    )
    snapshot_dir: Path | None = Field(
        default_factory=_snapshot_dir,
        description="Existing directory, such as mounted storage, for snapshots of the data, from "
        "which an empty data directory is restored. On a Space `/data` where writable.",
    )
    snapshot_minutes: float = Field(
        5, gt=0, le=1_440, allow_inf_nan=False, description="Minutes between snapshots."
    )

    @field_validator("snapshot_dir", mode="before")
    @classmethod
    def _no_snapshots(cls, value: object) -> object:
        return None if value == "" else value

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if self.snapshot_dir and self.snapshot_dir.resolve() == self.data_dir.resolve():
            raise ValueError(
                f"NSFW_SNAPSHOT_DIR and NSFW_DATA_DIR are both {str(self.data_dir)!r}. Snapshots "
                "need a directory of their own."
            )
        return self

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.data_dir / DATABASE

    @property
    def previews_dir(self) -> Path:
        """Previews, by hash."""
        return self.data_dir / "images"

    @property
    def artifacts_dir(self) -> Path:
        """Directory of optimized models; on a Space in its bucket, because the disk is lost."""
        bucket = self.on_space and self.snapshot_dir == SPACE_DATA_DIR
        # `engines` is its name in earlier versions.
        return (SPACE_DATA_DIR if bucket else self.data_dir) / "engines"

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
        """Paths that only this account may read.

        That is the data directory; with other files in it, only those of this program.
        """
        own = {self.previews_dir, self.artifacts_dir, self.uploads_root}
        own |= set(self.data_dir.glob(f"{self.database.name}*"))  # its log, its key, copies
        return sorted(own) if set(self.data_dir.iterdir()) - own else [self.data_dir]
