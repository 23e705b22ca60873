"""Accepted references: images that an administrator took as what later ones are compared with.

They are rows of the audit, which is never purged.
"""

from dataclasses import dataclass

from nsfw_app.store.audit import AuditAction, note
from nsfw_app.store.connections import Connections


@dataclass(frozen=True, slots=True)
class AcceptedReference:
    """All images that had arrived at a time, accepted as the reference; why and by which author."""

    at: str
    author: str
    reason: str


class References:
    """Reads and adds the accepted references of each model."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def accepted(self, model: str) -> list[AcceptedReference]:
        """Those of a model, the oldest first."""
        rows = self._connections.db.execute(
            """
            select at, actor, json_extract(details, '$.reason') from audit
            where action = 'reference' and subject = ? order by id
            """,
            (model,),
        )
        return [AcceptedReference(*row) for row in rows]

    def latest_id(self, model: str) -> int:
        """The id of the latest one of a model; 0 if there is none."""
        row = self._connections.row(
            """
            select coalesce(max(id), 0) as latest from audit
            where action = 'reference' and subject = ?
            """,
            (model,),
        )
        return int(row["latest"]) if row else 0

    def accept(self, model: str, *, author: str, reason: str) -> None:
        """Accept all images of a model that have arrived."""
        with self._connections.writing() as db:
            note(db, author, AuditAction.REFERENCE, model, reason=reason)
