"""Manifest of a backup: what it contains, with checksums, and what was left out."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from nsfw_app.errors import BackupDamaged

FORMAT = 1
# What malformed documents raise.
MALFORMED = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)


@dataclass(frozen=True, slots=True)
class ArchivedFile:
    """A file in a backup. `name` is its path in the archive."""

    name: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup contains.

    - `version` is that of the program that wrote it; `steps` are the migrations of its database.
    - `counts` are numbers of rows by table.
    - `left_out` has a reason by SHA-256 of each image whose preview is not in it.
    """

    version: str
    created_at: str
    steps: tuple[str, ...]
    counts: Mapping[str, int]
    files: tuple[ArchivedFile, ...]
    left_out: Mapping[str, str]

    def to_json(self) -> bytes:
        """A JSON document."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1).encode()

    @classmethod
    def from_json(cls, document: bytes) -> Self:
        """The manifest that `to_json` wrote.

        Raises:
            BackupDamaged: It is not one.
        """
        try:
            values: dict[str, Any] = json.loads(document)
            return cls(
                str(values["version"]),
                str(values["created_at"]),
                tuple(map(str, values["steps"])),
                {str(table): int(rows) for table, rows in values["counts"].items()},
                tuple(map(_archived_file, values["files"])),
                {str(image): str(reason) for image, reason in values["left_out"].items()},
            )
        except MALFORMED as error:
            raise BackupDamaged("The backup is damaged: its manifest cannot be read.") from error


def _archived_file(values: Mapping[str, Any]) -> ArchivedFile:
    return ArchivedFile(str(values["name"]), int(values["size_bytes"]), str(values["sha256"]))
