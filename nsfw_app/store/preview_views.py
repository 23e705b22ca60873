"""Views of previews: which reviewers the server sent a preview of an image.

- A row is added once, before the preview is sent.
- A power cut may undo it: its commit does not wait for the disk.
"""

from nsfw_app.store.connections import Connections, Durability, now


class PreviewViews:
    """Adds and finds views; decisions read them."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def has(self, image_sha256: str, reviewer: str) -> bool:
        """Whether a reviewer was sent a preview of an image."""
        row = self._connections.row(
            "select 1 from preview_views where image_sha256 = ? and reviewer = ?",
            (image_sha256, reviewer),
        )
        return row is not None

    def add(self, image_sha256: str, reviewer: str) -> None:
        """Record that a reviewer was sent a preview of an image.

        Raises:
            StorageError: It could not be recorded.
        """
        if not self.has(image_sha256, reviewer):
            with self._connections.writing(Durability.CRASH) as db:
                db.execute(
                    "insert into preview_views values (?, ?, ?) on conflict do nothing",
                    (image_sha256, reviewer, now()),
                )
