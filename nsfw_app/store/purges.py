"""Purges of previews: those that retention does not keep, and single images on request.

- Scores and decisions stay.
- The file is deleted before its placeholder, so that an interrupted purge leaves no file behind.
- The queue entry of an image without a preview is withdrawn.
- A preview outlives each decision about its image by the grace period, and while its reviewer can
  undo that from the list of recent decisions. Without a grace period neither holds.
- The preview of a restricted image is never deleted.
"""

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice

from sqlite_utils import Database

from nsfw_app.errors import ImageRestricted
from nsfw_app.records import utc
from nsfw_app.rules.retention import Keep, Retention
from nsfw_app.store.audit import AuditAction, note
from nsfw_app.store.connections import Connections
from nsfw_app.store.previews import PreviewFiles
from nsfw_app.store.queue_entries import withdraw_images
from nsfw_app.store.restrictions import RESTRICTED, is_restricted
from nsfw_app.store.states import webhooks_on_state_change

AT_ONCE = 500
ON_THE_DESK = timedelta(hours=12)  # as long as a session, in which its owner may still review it
RECENT_DECISIONS = 20  # of a reviewer within a session, which the page lists to be undone

# Decisions and undos since :since, by way of the days of the log.
SINCE = """
decisions d where d.decided_at >= :since and d.id > coalesce((
  select max(last_id) from log_days where day < substr(:since, 1, 10)
), 0)
"""
# Of these images, those restricted, and those uploaded since :oldest that are still needed.
NEEDED = f"""
select wanted.value as sha256 from json_each(:images) wanted
where {RESTRICTED.format(image="wanted.value")} or :keeps_any and exists (
  select 1 from uploads u where u.image_sha256 = wanted.value and u.uploaded_at >= :oldest
) and (
  :all
  or wanted.value in (
    select p.image_sha256 from (
      select d.prediction_id, d.decided_at, d.label, row_number() over (
        partition by d.reviewer, d.label is null order by d.id desc
      ) as number
      from {SINCE}
    ) d
    join predictions p on p.id = d.prediction_id
    where d.decided_at >= :grace
      or d.label is not null and d.number <= {RECENT_DECISIONS} and d.decided_at >= :undoable
  )
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


# Images with previews and decisions since :since.
DECIDED = f"""
select distinct i.sha256 from (select d.prediction_id from {SINCE}) d
  join predictions p on p.id = d.prediction_id join images i on i.sha256 = p.image_sha256
where i.placeholder <> x''
"""
WAITING = """
select distinct p.image_sha256 from queue q join predictions p on p.id = q.prediction_id
where q.settled_at is null
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

    def sweep(self) -> int:
        """Delete the previews of decided images whose time is over; return their number.

        It reads the decisions of the last days only, so that it can run every minute; `run` finds
        what it missed while no server ran.
        """
        since = {"since": self._times()["since"]}
        rows = self._connections.db.execute(DECIDED, since).fetchall()
        return sum(self.tidy(images) for images in _batches(row["sha256"] for row in rows))

    def run(self, *, actor: str) -> int:
        """Delete every preview that retention does not keep, audit it, return the number.

        Open entries whose preview file was lost are withdrawn.
        """
        self._files.forget_unfinished()
        deleted = sum(self.tidy(images) for images in _batches(self._files.all()))
        waiting = self._connections.db.execute(WAITING).fetchall()
        lost = [row["image_sha256"] for row in waiting if not self._files.has(row["image_sha256"])]
        with self._connections.writing() as db:
            _forget(db, lost)
            details = {"keep": self.retention.keep, "days": self.retention.days}
            note(db, actor, AuditAction.PURGE, "pictures", deleted=deleted, **details)
        self._connections.overwrite_log()
        return deleted

    def purge(self, image_sha256: str, *, actor: str) -> bool:
        """Delete the preview of an image, and audit it; return whether there was anything.

        Raises:
            ImageRestricted: It must be kept.
        """
        with self._connections.writing() as db:
            if is_restricted(db, image_sha256):
                raise ImageRestricted
            had = self._files.remove(image_sha256)
            known = _forget(db, [image_sha256])
            note(db, actor, AuditAction.PURGE, image_sha256, picture=had, known=known > 0)
        self._connections.overwrite_log()
        return had or known > 0

    def _due(self, images: list[str]) -> list[str]:
        """The images among these that retention does not keep."""
        rows = self._connections.db.execute(
            NEEDED,
            {
                "images": json.dumps(images),
                "all": self.retention.keep is Keep.ALL,
                "keeps_any": self.retention.keeps_any,
                **self._times(),
            },
        )
        needed = {row["sha256"] for row in rows}
        return [image for image in images if image not in needed]

    def _times(self) -> dict[str, str]:
        """Since when an upload or a decision keeps a preview."""
        moment = datetime.now(UTC)
        grace = timedelta(minutes=self.retention.grace_minutes)
        ages = {
            "oldest": timedelta(days=self.retention.days),
            "recent": ON_THE_DESK,
            "grace": grace,
            "undoable": ON_THE_DESK if grace else grace,
            # A sweep that was late finds decisions whose time was over before it.
            "since": max(ON_THE_DESK, grace) + timedelta(days=1),
        }
        return {name: utc((moment - age).isoformat()) for name, age in ages.items()}


def _forget(db: Database, images: list[str]) -> int:
    """Empty placeholders, forget views, withdraw entries; return how many of the images exist."""
    wanted = json.dumps(images)
    known = db.execute(
        "update images set placeholder = x'' "
        "where sha256 in (select value from json_each(?)) returning sha256",
        (wanted,),
    ).fetchall()
    db.execute(
        "delete from preview_views where image_sha256 in (select value from json_each(?))",
        (wanted,),
    )
    with webhooks_on_state_change(db) as watch:
        withdraw_images(db, images, watch)
    return len(known)


def _batches(images: Iterator[str]) -> Iterator[list[str]]:
    while batch := list(islice(images, AT_ONCE)):
        yield batch
