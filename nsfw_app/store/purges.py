"""Purges of previews: those that retention does not keep, and single images on request.

- Scores and decisions stay.
- The file is deleted before its placeholder, so that an interrupted purge leaves no file behind.
- The queue entry of an image without a preview is withdrawn.
"""

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice

from sqlite_utils import Database

from nsfw_app.records import utc
from nsfw_app.rules.retention import Keep, Retention
from nsfw_app.store.audit import AuditAction, note
from nsfw_app.store.connections import Connections, now
from nsfw_app.store.previews import PreviewFiles
from nsfw_app.store.states import reported_changes

AT_ONCE = 500
ON_THE_DESK = timedelta(hours=12)  # as long as a session, in which its owner may still review it

# Of these images, those uploaded since :oldest that are still needed.
NEEDED = """
select wanted.value as sha256 from json_each(:images) wanted
where exists (
  select 1 from uploads u where u.image_sha256 = wanted.value and u.uploaded_at >= :oldest
) and (
  :all
  or exists (
    select 1 from uploads u where u.image_sha256 = wanted.value and u.uploaded_at >= :recent
      and not exists (
        select 1 from predictions p join standing_answers a on a.prediction_id = p.id
        where p.image_sha256 = u.image_sha256 and a.decided_at >= u.uploaded_at
      )
  )
  or exists (
    select 1 from predictions p where p.image_sha256 = wanted.value and (
      exists (select 1 from queue q where q.prediction_id = p.id and q.settled_at is null)
      or exists (
        select 1 from standing_answers a
        where a.prediction_id = p.id and a.label <> a.model_label
      )
    )
  )
)
"""


class Purges:
    """Deletes previews and placeholders.

    Args:
        connections: The database.
        files: The preview files.
        retention: Which previews are kept, and for how long.
    """

    def __init__(
        self, connections: Connections, files: PreviewFiles, *, retention: Retention
    ) -> None:
        self._connections = connections
        self._files = files
        self.retention = retention

    def tidy(self, images: Iterable[str]) -> int:
        """Delete the previews among these that retention does not keep; return their number."""
        due = self._due([image for image in images if self._files.has(image)])
        if not due:
            return 0
        with self._connections.writing() as db:
            due = self._due(due)  # one of them may have been uploaded again since
            for image in due:
                self._files.remove(image)
            _forget(db, due)
        return len(due)

    def run(self, *, actor: str) -> int:
        """Delete every preview that retention does not keep, audit it, return the number."""
        self._files.forget_unfinished()
        deleted = sum(self.tidy(images) for images in _batches(self._files.all()))
        with self._connections.writing() as db:
            details = {"keep": self.retention.keep, "days": self.retention.days}
            note(db, actor, AuditAction.PURGE, "pictures", deleted=deleted, **details)
        self._connections.overwrite_log()
        return deleted

    def purge(self, image_sha256: str, *, actor: str) -> bool:
        """Delete the preview of an image, and audit it; return whether there was anything."""
        with self._connections.writing() as db:
            had = self._files.remove(image_sha256)
            known = _forget(db, [image_sha256])
            note(db, actor, AuditAction.PURGE, image_sha256, picture=had, known=known > 0)
        self._connections.overwrite_log()
        return had or known > 0

    def _due(self, images: list[str]) -> list[str]:
        """The images among these that retention does not keep."""
        moment = datetime.now(UTC)
        if not images or not self.retention.keeps_any:
            return images
        rows = self._connections.db.execute(
            NEEDED,
            {
                "images": json.dumps(images),
                "oldest": utc((moment - timedelta(days=self.retention.days)).isoformat()),
                "recent": utc((moment - ON_THE_DESK).isoformat()),
                "all": self.retention.keep is Keep.ALL,
            },
        )
        needed = {row["sha256"] for row in rows}
        return [image for image in images if image not in needed]


def _forget(db: Database, images: list[str]) -> int:
    """Empty placeholders, withdraw queue entries; return how many of the images exist."""
    wanted = json.dumps(images)
    known = db.execute(
        "update images set placeholder = x'' "
        "where sha256 in (select value from json_each(?)) returning sha256",
        (wanted,),
    ).fetchall()
    waiting = db.execute(
        """
        select q.id, q.prediction_id from queue q join predictions p on p.id = q.prediction_id
        where q.settled_at is null and p.image_sha256 in (select value from json_each(?))
        """,
        (wanted,),
    ).fetchall()
    with reported_changes(db) as watch:
        for entry in waiting:
            watch(entry["prediction_id"])
            db.execute(
                "update queue set settled_at = ?, settled_label = null, leased_by = null "
                "where id = ?",
                (now(), entry["id"]),
            )
    return len(known)


def _batches(images: Iterator[str]) -> Iterator[list[str]]:
    while batch := list(islice(images, AT_ONCE)):
        yield batch
