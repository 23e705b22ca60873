"""The audit: sign-ins, exports, backups, purges, restrictions, changes of settings, accounts.

- Changes are those of policies, calibrations, references, users, keys, viewing defaults, the queue
  and optimized models.
- It is append-only.
- The row of a change is written in the transaction of that change.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlite_utils import Database

from nsfw_app.store.connections import Connections, now


class AuditAction(StrEnum):
    """Actions that the audit records."""

    SIGN_IN = "sign_in"
    SIGN_IN_FAILED = "sign_in_failed"
    SIGN_OUT = "sign_out"
    EXPORT = "export"
    IMPORT = "import"
    QUEUE = "queue"
    OPTIMIZE = "optimize"
    PURGE = "purge"
    POLICY = "policy"
    CALIBRATION = "calibration"
    REFERENCE = "reference"
    USER = "user"
    KEY = "key"
    LEASE = "lease"
    RELEASE = "release"
    VIEWING_DEFAULTS = "viewing_defaults"
    REVIEWING = "reviewing"
    RESTRICT = "restrict"
    BACKUP = "backup"
    RESTORE = "restore"
    ERASE = "erase"


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """A row: time, actor, action, subject and details."""

    at: str
    actor: str
    action: str
    subject: str
    details: dict[str, Any]


def note(db: Database, actor: str, action: AuditAction, subject: str, **details: Any) -> None:
    """Add a row within an open transaction.

    Args:
        db: Where the transaction is open.
        actor: The name of the user, key or command.
        action: The action.
        subject: The user, key, model or image it concerns.
        details: Further values that JSON can hold. Never a secret.
    """
    db.execute(
        "insert into audit (at, actor, action, subject, details) values (?, ?, ?, ?, ?)",
        (now(), actor, action, subject, json.dumps(details)),
    )


class Audit:
    """Adds and reads rows of the audit."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def add(self, actor: str, action: AuditAction, subject: str, **details: Any) -> None:
        """Add a row; see `note`."""
        with self._connections.writing() as db:
            note(db, actor, action, subject, **details)

    def entries(self, *, since: str = "") -> Iterator[AuditEntry]:
        """Every row since a time, oldest first."""
        rows = self._connections.db.execute(
            "select at, actor, action, subject, details from audit where at >= ? order by id",
            (since,),
        )
        for row in rows:
            yield AuditEntry(row[0], row[1], row[2], row[3], json.loads(row[4]))
