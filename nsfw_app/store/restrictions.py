"""Restricted images: seen by administrators only, their previews neither purged nor exported.

- A trigger restricts an image in the transaction of a decision for the reason `minor_present`.
- An undo does not lift a restriction; an administrator does.
"""

from sqlite_utils import Database

from nsfw_app.errors import NotFound
from nsfw_app.store.audit import AuditAction, note
from nsfw_app.store.connections import Connections, now

# Whether an image is restricted; its hash is the column or parameter in braces.
RESTRICTED = """
exists (
  select 1 from restricted_images r where r.image_sha256 = {image} and r.lifted_at is null
)
"""


class Restrictions:
    """Reads and lifts restrictions."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def holds(self, image_sha256: str) -> bool:
        """Whether an image is restricted."""
        return is_restricted(self._connections.db, image_sha256)

    def all(self) -> frozenset[str]:
        """The hashes of all restricted images."""
        rows = self._connections.db.execute(
            "select image_sha256 from restricted_images where lifted_at is null"
        )
        return frozenset(row[0] for row in rows)

    def lift(self, image_sha256: str, *, actor: str) -> None:
        """Show an image again as any other, and audit it.

        Raises:
            NotFound: It is not restricted.
        """
        with self._connections.writing() as db:
            lifted = db.execute(
                "update restricted_images set lifted_at = ? "
                "where image_sha256 = ? and lifted_at is null returning 1",
                (now(), image_sha256),
            ).fetchall()
            if not lifted:
                raise NotFound(f"Image {image_sha256} is not restricted.")
            note(db, actor, AuditAction.RESTRICT, image_sha256, lifted=True)


def is_restricted(db: Database, image_sha256: str) -> bool:
    """Whether an image is restricted."""
    sql = f"select {RESTRICTED.format(image='?')}"
    return bool(db.execute(sql, (image_sha256,)).fetchone()[0])
