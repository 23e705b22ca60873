"""Leases of queue entries, each for one reviewer and 10 minutes.

- An entry is leased to one reviewer at most: entries are selected and leased in one transaction.
- A lease expires after `LEASE_DURATION`. One that ends later than two leases from now was taken
  before the clock was set back, and has expired as well.
- A reviewer never gets an entry for an image that they decided on.
- A claim reads the first entries of each group of open entries with the same `decided_by` and
  priority, in the order of an index, so that its time does not grow with the queue. The same holds
  for the oldest entry.
- A power cut may end leases early: their commits do not wait for the disk.
"""

import json
import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlite_utils import Database

from nsfw_app.errors import LeaseError, NotFound
from nsfw_app.records import utc
from nsfw_app.rules.queue import EntryReason, QueueOrder
from nsfw_app.store.audit import AuditAction, note
from nsfw_app.store.connections import Connections, Durability, now

LEASE_DURATION = timedelta(minutes=10)  # ui/assets/queue/queue.js renews within it

# Columns of the entries that a claim finds.
CLAIMED = "{entry}.id, {entry}.prediction_id, {entry}.priority, {entry}.reason"
HELD = "{entry}.leased_until > :now and {entry}.leased_until <= :latest"
# Groups of open entries whose predictions this reviewer has not decided on.
GROUPS = """
select {columns} from queue_counts
where not instr('/' || decided_by, '/' || hex(:reviewer) || '/')
"""
AVAILABLE = """
{entry}.settled_at is null
  and ({entry}.leased_by is null or {entry}.leased_by = :reviewer
    or {entry}.leased_until <= :now or {entry}.leased_until > :latest)
  and {entry}.id not in (select value from json_each(:holding))
"""
NOT_SKIPPED = """
not exists (select 1 from queue_skips s where s.queue_id = i.id and s.reviewer = :reviewer)
"""
DISTANCE = "abs({entry}.nsfw_score - :threshold)"
ORDERS = {
    QueueOrder.PRIORITY: f"q.priority, {DISTANCE.format(entry='q')}, q.entered_at, q.id",
    QueueOrder.OLDEST: "q.entered_at, q.id",
}
# SQL conditions, formatted into `_scan`: the first entries of each group, at and above the
# threshold, below it, or the oldest.
OLDEST = "order by i.entered_at, i.id"
SCANS = {
    QueueOrder.PRIORITY: (
        "i.priority = g.priority and i.nsfw_score >= :threshold "
        "order by i.nsfw_score, i.entered_at, i.id",
        "i.priority = g.priority and i.nsfw_score < :threshold "
        "order by i.nsfw_score desc, i.entered_at, i.id",
    ),
    QueueOrder.OLDEST: (f"i.priority = g.priority {OLDEST}",),
}


@dataclass(frozen=True, slots=True)
class Lease:
    """An entry leased to a reviewer, without the decisions of others.

    `reason` is why it waits now; `entered_for` is why it entered the queue, or was escalated.
    """

    entry_id: int
    prediction_id: int
    reason: EntryReason
    entered_for: EntryReason


@dataclass(frozen=True, slots=True)
class Holding:
    """A lease as administrators see it."""

    entry_id: int
    image_sha256: str
    reviewer: str
    until: str
    reason: EntryReason


@dataclass(frozen=True, slots=True)
class QueueSummary:
    """The open entries as one reviewer sees them.

    - `by_reason` and `oldest_entered_at` are of the entries that this reviewer could claim.
    - `held` are leased to others; `decided` are those that this reviewer decided on.
    """

    by_reason: dict[EntryReason, int]
    oldest_entered_at: str | None
    held: int
    decided: int

    @property
    def waiting(self) -> int:
        """How many entries this reviewer could claim."""
        return sum(self.by_reason.values())


class Leases:
    """Claims, renews and releases entries of the queue."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def claim(
        self,
        reviewer: str,
        *,
        count: int,
        holding: Sequence[int] = (),
        threshold: float = 0.5,
        order: QueueOrder = QueueOrder.PRIORITY,
        reason: EntryReason | None = None,
        first: int | None = None,
    ) -> list[Lease]:
        """Lease the next entries to a reviewer. Those they skipped come after all others.

        Args:
            reviewer: The reviewer's name.
            count: The highest number of entries.
            holding: Entries to leave out, because the reviewer has them already.
            threshold: Entries nearest to it come first within a priority.
            order: By priority, or the oldest first.
            reason: Only entries that wait for this reason; None for all.
            first: An entry that comes before all others, when it is available.
        """
        moment = now()
        values = {
            **_moments(reviewer, moment),
            "threshold": threshold,
            "first": first,
            "only": reason and reason.priority,
        }
        with self._connections.writing(Durability.CRASH) as db:
            found = _one(db, values, holding)
            for priority in _priorities(db, values, order):
                if len(found) >= count:
                    break
                known = [*holding, *(row["id"] for row in found)]
                found += _scan(db, values, order, priority, known, count - len(found))
            if len(found) < count:
                known = [*holding, *(row["id"] for row in found)]
                found += _skipped(db, values, order, known, count - len(found))
            found = found[:count]
            db.execute(
                "update queue set leased_by = ?, leased_until = ? "
                "where id in (select value from json_each(?))",
                (reviewer, lease_end(moment), json.dumps([row["id"] for row in found])),
            )
        return [
            Lease(
                row["id"],
                row["prediction_id"],
                EntryReason.of_priority(row["priority"]),
                EntryReason(row["reason"]),
            )
            for row in found
        ]

    def renew(self, entry_ids: Sequence[int], reviewer: str) -> list[int]:
        """Extend this reviewer's leases; the ids of those that had not expired."""
        moment = now()
        with self._connections.writing(Durability.CRASH) as db:
            rows = db.execute(
                """
                update queue set leased_until = ?
                where id in (select value from json_each(?)) and leased_by = ?
                  and leased_until > ? and settled_at is null
                returning id
                """,
                (lease_end(moment), json.dumps(list(entry_ids)), reviewer, moment),
            ).fetchall()
        return [row["id"] for row in rows]

    def release(self, entry_ids: Sequence[int], reviewer: str) -> None:
        """End this reviewer's leases."""
        with self._connections.writing(Durability.CRASH) as db:
            _release(db, entry_ids, reviewer)

    def skip(self, entry_id: int, reviewer: str) -> None:
        """Release an entry; this reviewer gets it again after all others."""
        with self._connections.writing() as db:
            note_skip(db, entry_id, reviewer)
            _release(db, [entry_id], reviewer)

    def unskip(self, entry_id: int, reviewer: str) -> None:
        """Undo this reviewer's skip: the entry is leased to them again.

        Raises:
            NotFound: This reviewer did not skip such an entry.
            LeaseError: Another reviewer holds it, or it was decided since.
        """
        with self._connections.writing() as db:
            deleted = db.execute(
                "delete from queue_skips where queue_id = ? and reviewer = ? returning 1",
                (entry_id, reviewer),
            ).fetchone()
            leased = take_lease(db, entry_id, reviewer)
            if not leased and deleted:
                raise LeaseError(
                    "The skip cannot be undone: another reviewer holds the image or decided it."
                )
            if not leased:
                raise NotFound(f"You did not skip a queue entry {entry_id}.")

    def held(self) -> list[Holding]:
        """Every lease in force, the one that ends first at the top."""
        rows = self._connections.db.execute(
            f"""
            select q.id, p.image_sha256, q.leased_by, q.leased_until, q.priority
            from queue q join predictions p on p.id = q.prediction_id
            where q.settled_at is null and q.leased_by is not null
              and {HELD.format(entry="q")}
            order by q.leased_until, q.id
            """,
            _moments("", now()),
        )
        return [
            Holding(row[0], row[1], row[2], row[3], EntryReason.of_priority(row[4])) for row in rows
        ]

    def revoke(self, entry_id: int, *, actor: str) -> None:
        """End the lease of any reviewer, and audit it.

        Raises:
            NotFound: No reviewer holds this entry.
        """
        with self._connections.writing() as db:
            holder = db.execute(
                f"""
                select q.leased_by from queue q
                where q.id = :id and q.settled_at is null and q.leased_by is not null
                  and {HELD.format(entry="q")}
                """,
                {**_moments("", now()), "id": entry_id},
            ).fetchone()
            if holder is None:
                raise NotFound(f"No reviewer holds a queue entry {entry_id}.")
            _release(db, [entry_id], holder["leased_by"])
            note(db, actor, AuditAction.LEASE, holder["leased_by"], released_entry=entry_id)

    def waiting(self, reviewer: str) -> int:
        """Count the entries this reviewer could claim, those leased to them included."""
        return sum(self._by_priority(reviewer).values())

    def summary(self, reviewer: str) -> QueueSummary:
        """Count the open entries by reason, and find the oldest; see `QueueSummary`."""
        with self._connections.reading():
            oldest = self._connections.row(
                f"""
                select min(q.entered_at) as oldest
                from ({GROUPS.format(columns="decided_by, priority")}) g join queue q on q.id = (
                  select i.id from queue i
                  where i.decided_by = g.decided_by and i.priority = g.priority
                    and {AVAILABLE.format(entry="i")}
                  {OLDEST} limit 1
                )
                """,
                {**_moments(reviewer, now()), "holding": "[]"},
            )["oldest"]
            counts = self._by_priority(reviewer)
            held = self._held_by_others(reviewer).total()
            total = self._connections.row("select coalesce(sum(entries), 0) from queue_counts")[0]
        return QueueSummary(
            {EntryReason.of_priority(priority): counts[priority] for priority in sorted(counts)},
            oldest,
            held,
            total - held - counts.total(),
        )

    def _by_priority(self, reviewer: str) -> Counter[int]:
        """How many entries this reviewer could claim, by priority."""
        rows = self._connections.db.execute(
            f"{GROUPS.format(columns='priority, sum(entries)')} group by priority",
            {"reviewer": reviewer},
        )
        counts = Counter(dict(rows.fetchall()))
        return counts - self._held_by_others(reviewer)

    def _held_by_others(self, reviewer: str) -> Counter[int]:
        """How many entries that this reviewer could decide are leased to others, by priority."""
        rows = self._connections.db.execute(
            f"""
            select q.priority, count(*) from queue q
            where q.settled_at is null and q.leased_by is not null
              and {HELD.format(entry="q")} and q.leased_by <> :reviewer
              and not instr('/' || q.decided_by, '/' || hex(:reviewer) || '/')
            group by q.priority
            """,
            _moments(reviewer, now()),
        )
        return Counter(dict(rows.fetchall()))


def lease_end(moment: str) -> str:
    """When a lease ends that begins now."""
    return utc((datetime.fromisoformat(moment).astimezone(UTC) + LEASE_DURATION).isoformat())


def take_lease(db: Database, entry_id: int, reviewer: str) -> bool:
    """Lease an open entry to a reviewer, within an open transaction; whether that was possible."""
    moment = now()
    return (
        db.execute(
            f"""
            update queue set leased_by = :reviewer, leased_until = :until
            where id = :id and {AVAILABLE.format(entry="queue")}
              and not instr('/' || decided_by, '/' || hex(:reviewer) || '/')
            returning 1
            """,
            {
                **_moments(reviewer, moment),
                "id": entry_id,
                "until": lease_end(moment),
                "holding": "[]",
            },
        ).fetchone()
        is not None
    )


def note_skip(db: Database, entry_id: int, reviewer: str) -> None:
    """Order an entry after all others for this reviewer, within an open transaction."""
    db.execute(
        "insert into queue_skips select id, ?, ? from queue where id = ? on conflict do nothing",
        (reviewer, now(), entry_id),
    )


def _one(db: Database, values: dict[str, Any], holding: Sequence[int]) -> list[sqlite3.Row]:
    """The entry named `first`, when it is available."""
    if values["first"] is None:
        return []
    return db.execute(
        f"""
        select {CLAIMED.format(entry="q")} from queue q
        where q.id = :first and {AVAILABLE.format(entry="q")}
          and not instr('/' || q.decided_by, '/' || hex(:reviewer) || '/')
        """,
        {**values, "holding": json.dumps(list(holding))},
    ).fetchall()


def _priorities(db: Database, values: dict[str, Any], order: QueueOrder) -> list[int | None]:
    """The priorities to scan one after the other; None scans all of them at once."""
    if values["only"] is not None:
        return [values["only"]]
    if order is QueueOrder.OLDEST:
        return [None]
    sql = f"{GROUPS.format(columns='distinct priority')} order by priority"
    return [row["priority"] for row in db.execute(sql, {"reviewer": values["reviewer"]})]


def _scan(
    db: Database,
    values: dict[str, Any],
    order: QueueOrder,
    priority: int | None,
    known: Sequence[int],
    count: int,
) -> list[sqlite3.Row]:
    """The next entries that the reviewer has not skipped."""
    of_priority = "(:priority is null or priority = :priority)"
    groups = f"{GROUPS.format(columns='decided_by, priority')} and {of_priority}"
    scans = " union all ".join(
        f"""
        select {CLAIMED.format(entry="q")}, q.nsfw_score, q.entered_at
        from ({groups}) g join queue q on q.id in (
          select i.id from queue i
          where i.decided_by = g.decided_by and {AVAILABLE.format(entry="i")} and {NOT_SKIPPED}
            and {scan} limit :count
        )
        """
        for scan in SCANS[order]
    )
    return db.execute(
        f"""
        select {CLAIMED.format(entry="q")} from ({scans}) q order by {ORDERS[order]} limit :count
        """,
        {**values, "priority": priority, "holding": json.dumps(known), "count": count},
    ).fetchall()


def _skipped(
    db: Database, values: dict[str, Any], order: QueueOrder, known: Sequence[int], count: int
) -> list[sqlite3.Row]:
    """The next entries among those that the reviewer skipped."""
    return db.execute(
        f"""
        select {CLAIMED.format(entry="q")} from queue_skips s join queue q on q.id = s.queue_id
        where s.reviewer = :reviewer and {AVAILABLE.format(entry="q")}
          and (:only is null or q.priority = :only)
          and not instr('/' || q.decided_by, '/' || hex(:reviewer) || '/')
        order by {ORDERS[order]} limit :count
        """,
        {**values, "holding": json.dumps(known), "count": count},
    ).fetchall()


def _release(db: Database, entry_ids: Sequence[int], reviewer: str) -> None:
    db.execute(
        "update queue set leased_by = null, leased_until = null "
        "where id in (select value from json_each(?)) and leased_by = ?",
        (json.dumps(list(entry_ids)), reviewer),
    )


def _moments(reviewer: str, moment: str) -> dict[str, Any]:
    """Parameters of the conditions above: a reviewer, now, and the latest end of a lease."""
    return {"reviewer": reviewer, "now": moment, "latest": lease_end(lease_end(moment))}
