"""Purges of previews: those that retention does not keep, and single images on request.

- Scores and decisions stay.
- Files are set aside in the transaction that empties their placeholders, and deleted after it. What
  an interrupted purge set aside is deleted by the next one.
- A purge of many previews is many short transactions with pauses, so that decisions do not wait.
- The queue entry of an image without a preview is withdrawn.
- A preview outlives each decision about its image by the grace period, and while its reviewer can
  undo that from the list of recent decisions. Without a grace period neither holds.
- The preview of a restricted image is never deleted.
"""

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice

from sqlite_utils import Database

from nsfw_app.errors import ImageRestricted
from nsfw_app.records import utc
from nsfw_app.rules.retention import Keep, Retention
from nsfw_app.store.audit import AuditAction, note
from nsfw_app.store.connections import Connections
from nsfw_app.store.explanations import OF_IMAGES
from nsfw_app.store.previews import PreviewFiles
from nsfw_app.store.queue_entries import withdraw_images
from nsfw_app.store.restrictions import RESTRICTED, is_restricted
from nsfw_app.store.states import webhooks_on_state_change

AT_ONCE = 500  # images that one query looks up, without the write lock
DELETED_AT_ONCE = 25  # previews in one transaction, which holds the write lock for some ms
PAUSE = 2.0  # after each transaction, in multiples of its duration: others get the lock
MAX_PAUSE_S = 0.1
ON_THE_DESK = timedelta(hours=12)  # as long as a session, in which its owner may still review it
RECENT_DECISIONS = 20  # of a reviewer within a session, which the page lists to be undone

# Decisions and undos since :since, by way of the days of the log.
SINCE = """
decisions d where d.decided_at >= :since and d.id > coalesce((
  select max(last_id) from log_days where day < substr(:since, 1, 10)
), 0)
"""
# Images whose decisions are so recent that they keep the preview.
RECENT = f"""
select distinct p.image_sha256 as sha256 from (
  select d.prediction_id, d.decided_at, d.label, row_number() over (
    partition by d.reviewer, d.label is null order by d.id desc
  ) as number
  from {SINCE}
) d
join predictions p on p.id = d.prediction_id
where d.decided_at >= :grace
  or d.label is not null and d.number <= {RECENT_DECISIONS} and d.decided_at >= :undoable
"""
# Of these images, those restricted, and those uploaded since :oldest that are still needed, but for
# `RECENT`; those decided after :last_id are.
NEEDED = f"""
select wanted.value as sha256 from json_each(:images) wanted
where {RESTRICTED.format(image="wanted.value")} or :keeps_any and exists (
  select 1 from uploads u where u.image_sha256 = wanted.value and u.uploaded_at >= :oldest
) and (
  :all
  or :has_grace and exists (
    select 1 from predictions p join decisions d on d.prediction_id = p.id
    where p.image_sha256 = wanted.value and d.id > :last_id
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


# Images that have a preview, as the database says.
NAMED = """
select sha256 from images
where sha256 in (select value from json_each(:images)) and placeholder <> x''
"""


@dataclass(frozen=True, slots=True)
class _RecentDecisions:
    """Images that recent decisions keep, of all decisions up to `last_id`."""

    images: frozenset[str]
    last_id: int


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
        recent = self._recent()
        return sum(self._tidy(batch, recent) for batch in _batches(images, AT_ONCE))

    def _tidy(self, images: Iterable[str], recent: _RecentDecisions) -> int:
        candidates = [i for i in images if i not in recent.images and self._files.has(i)]
        due = self._due(candidates, recent)
        return sum(self._delete(batch, recent) for batch in _batches(due, DELETED_AT_ONCE))

    def _delete(self, images: list[str], recent: _RecentDecisions) -> int:
        """Delete the previews of images that were due; one may have been uploaded again since."""
        started = time.monotonic()
        with self._files.setting_aside() as set_aside:
            with self._connections.writing(background=True) as db:
                due = self._due(images, recent)
                for image in due:
                    set_aside(image)
                _forget(db, due)
            seconds = time.monotonic() - started
        time.sleep(min(PAUSE * seconds, MAX_PAUSE_S))
        return len(due)

    def _finish(self, images: list[str]) -> None:
        """Put back what a purge set aside that was killed before its commit, and delete the rest.

        What is put back may have been restricted since, or be needed again.
        """
        with self._connections.writing(background=True) as db:
            rows = db.execute(NAMED, {"images": json.dumps(images)}).fetchall()
            named = {row["sha256"] for row in rows}
            for image in named:
                self._files.put_back(image)
        self._files.delete_set_aside(image for image in images if image not in named)

    def sweep(self) -> int:
        """Delete the previews of decided images whose time is over; return their number.

        It reads the decisions of the last days only, so that it can run every minute; `run` finds
        what it missed while no server ran.
        """
        since = {"since": self._times()["since"]}
        rows = self._connections.db.execute(DECIDED, since).fetchall()
        return self.tidy(row["sha256"] for row in rows)

    def run(self, *, actor: str) -> int:
        """Delete every preview that retention does not keep, audit it, return the number.

        Open entries whose preview file was lost are withdrawn.
        """
        self._files.forget_unfinished()
        for images in _batches(self._files.set_aside(), DELETED_AT_ONCE):
            self._finish(images)
        deleted = self.tidy(self._files.all())
        waiting = self._connections.db.execute(WAITING).fetchall()
        lost = [row["image_sha256"] for row in waiting if not self._files.has(row["image_sha256"])]
        with self._connections.writing(background=True) as db:
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
        with self._connections.writing(background=True) as db:
            if is_restricted(db, image_sha256):
                raise ImageRestricted
            had = self._files.remove(image_sha256)
            known = _forget(db, [image_sha256])
            note(db, actor, AuditAction.PURGE, image_sha256, picture=had, known=known > 0)
        self._connections.overwrite_log()
        return had or known > 0

    def _recent(self) -> _RecentDecisions:
        """The images that recent decisions keep; read once for many images."""
        times = self._times()
        with self._connections.reading() as db:
            last_id = db.execute("select coalesce(max(id), 0) from decisions").fetchone()[0]
            rows = db.execute(RECENT, {**times, "since": min(times["grace"], times["undoable"])})
            return _RecentDecisions(frozenset(row["sha256"] for row in rows.fetchall()), last_id)

    def _due(self, images: list[str], recent: _RecentDecisions) -> list[str]:
        """The images among these that retention does not keep."""
        rows = self._connections.db.execute(
            NEEDED,
            {
                "images": json.dumps(images),
                "all": self.retention.keep is Keep.ALL,
                "keeps_any": self.retention.keeps_any,
                "has_grace": self.retention.grace_minutes > 0,
                "last_id": recent.last_id,
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
    """Empty placeholders, forget what is derived, withdraw entries; how many images exist."""
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
    db.execute(f"delete from explanations where {OF_IMAGES}", {"images": wanted})
    with webhooks_on_state_change(db) as watch:
        withdraw_images(db, images, watch)
    return len(known)


def _batches(images: Iterable[str], size: int) -> Iterator[list[str]]:
    rest = iter(images)
    while batch := list(islice(rest, size)):
        yield batch
