"""Images that have a preview according to the database."""

from nsfw_app.store.connections import Connections

# The placeholder is emptied when the preview is deleted.
NAMED = "select sha256 from images where placeholder <> x''"
WAITING = """
select distinct p.image_sha256 from queue q join predictions p on p.id = q.prediction_id
where q.settled_at is null
"""


class PreviewRows:
    """Reads which images should have a preview file.

    Args:
        connections: The database.
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def named(self) -> list[str]:
        """SHA-256 of the images that have a preview."""
        return [row[0] for row in self._connections.db.execute(NAMED)]

    def waiting(self) -> list[str]:
        """SHA-256 of the images in the queue, which reviewers must be able to see."""
        return [row[0] for row in self._connections.db.execute(WAITING)]
