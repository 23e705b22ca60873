"""The audit: who signed in, exported, deleted, or changed a policy, a user or a key.

What always holds: rows are only ever added, and one that tells of a change is in the transaction
of that change.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlite_utils import Database

from nsfw_app.store.connections import Connections, now


class AuditAction(StrEnum):
    """What is recorded."""

    SIGN_IN = "sign_in"
    SIGN_IN_FAILED = "sign_in_failed"
    SIGN_OUT = "sign_out"
    EXPORT = "export"
    PURGE = "purge"
    POLICY = "policy"
    USER = "user"
    KEY = "key"


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One row: when, who, what, about whom or what, and the particulars."""

    at: str
    actor: str
    action: str
    subject: str
    details: dict[str, Any]


def note(db: Database, actor: str, action: AuditAction, subject: str, **details: Any) -> None:
    """Add a row within a transaction that is open already.

    Args:
        db: Where the transaction is open.
        actor: Who did it.
        action: What was done.
        subject: To whom or what.
        details: What else there is to know, as JSON takes it. Never a secret.
    """
    db.execute(
        "insert into audit (at, actor, action, subject, details) values (?, ?, ?, ?, ?)",
        (now(), actor, action, subject, json.dumps(details)),
    )


class Audit:
    """The audit's rows."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def add(self, actor: str, action: AuditAction, subject: str, **details: Any) -> None:
        """Add a row; see `note`."""
        with self._connections.writing() as db:
            note(db, actor, action, subject, **details)

    def entries(self, *, since: str = "") -> Iterator[AuditEntry]:
        """Every row from a moment on, oldest first."""
        rows = self._connections.db.execute(
            "select at, actor, action, subject, details from audit where at >= ? order by id",
            (since,),
        )
        for row in rows:
            yield AuditEntry(row[0], row[1], row[2], row[3], json.loads(row[4]))
