"""Leases of queue entries, each for one reviewer and 10 minutes.

- An entry is leased to one reviewer at most: entries are selected and leased in one transaction.
- A lease expires after `LEASE_DURATION`. One that ends later than two leases from now was taken
  before the clock was set back, and has expired as well.
- A reviewer never gets an entry for an image that they decided on.
- A claim reads the first entries of each group of open entries with the same `decided_by` and
  priority, in the order of an index, so that its time does not grow with the queue.
- A power cut may end leases early: their commits do not wait for the disk.
"""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlite_utils import Database

from nsfw_app.records import utc
from nsfw_app.rules.queue import QueueOrder
from nsfw_app.store.connections import Connections, Durability, now

LEASE_DURATION = timedelta(minutes=10)  # ui/assets/queue/queue.js renews within it

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
SCANS = {
    QueueOrder.PRIORITY: (
        "i.priority = g.priority and i.nsfw_score >= :threshold "
        "order by i.nsfw_score, i.entered_at, i.id",
        "i.priority = g.priority and i.nsfw_score < :threshold "
        "order by i.nsfw_score desc, i.entered_at, i.id",
    ),
    QueueOrder.OLDEST: ("true order by i.entered_at, i.id",),
}


@dataclass(frozen=True, slots=True)
class Lease:
    """An entry leased to a reviewer, without the decisions of others."""

    entry_id: int
    prediction_id: int


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
        first: int | None = None,
    ) -> list[Lease]:
        """Lease the next entries to a reviewer. Those they skipped come after all others.

        Args:
            reviewer: The reviewer's name.
            count: The highest number of entries.
            holding: Entries to leave out, because the reviewer has them already.
            threshold: Entries nearest to it come first within a priority.
            order: By priority, or the oldest first.
            first: An entry that comes before all others, when it is available.
        """
        moment = now()
        values = {
            "reviewer": reviewer,
            "now": moment,
            "latest": _after(_after(moment)),
            "threshold": threshold,
            "first": first,
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
                (reviewer, _after(moment), json.dumps([row["id"] for row in found])),
            )
        return [Lease(row["id"], row["prediction_id"]) for row in found]

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
                (_after(moment), json.dumps(list(entry_ids)), reviewer, moment),
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

    def waiting(self, reviewer: str) -> int:
        """Count the entries this reviewer could claim, those leased to them included."""
        moment = now()
        row = self._connections.row(
            f"""
            select (select coalesce(sum(entries), 0) from ({GROUPS.format(columns="entries")}))
              - (
                select count(*) from queue q
                where q.settled_at is null and q.leased_by is not null
                  and q.leased_until > :now and q.leased_until <= :latest
                  and q.leased_by <> :reviewer
                  and not instr('/' || q.decided_by, '/' || hex(:reviewer) || '/')
              ) as n
            """,
            {"reviewer": reviewer, "now": moment, "latest": _after(_after(moment))},
        )
        return int(row["n"])


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
        select q.id, q.prediction_id from queue q
        where q.id = :first and {AVAILABLE.format(entry="q")}
          and not instr('/' || q.decided_by, '/' || hex(:reviewer) || '/')
        """,
        {**values, "holding": json.dumps(list(holding))},
    ).fetchall()


def _priorities(db: Database, values: dict[str, Any], order: QueueOrder) -> list[int | None]:
    """The priorities to scan one after the other; None scans all of them at once."""
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
    columns = "distinct decided_by" if priority is None else "decided_by, priority"
    groups = f"{GROUPS.format(columns=columns)} and (:priority is null or priority = :priority)"
    scans = " union all ".join(
        f"""
        select q.id, q.prediction_id, q.priority, q.nsfw_score, q.entered_at
        from ({groups}) g join queue q on q.id in (
          select i.id from queue i
          where i.decided_by = g.decided_by and {AVAILABLE.format(entry="i")} and {NOT_SKIPPED}
            and {scan} limit :count
        )
        """
        for scan in SCANS[order]
    )
    return db.execute(
        f"select q.id, q.prediction_id from ({scans}) q order by {ORDERS[order]} limit :count",
        {**values, "priority": priority, "holding": json.dumps(known), "count": count},
    ).fetchall()


def _skipped(
    db: Database, values: dict[str, Any], order: QueueOrder, known: Sequence[int], count: int
) -> list[sqlite3.Row]:
    """The next entries among those that the reviewer skipped."""
    return db.execute(
        f"""
        select q.id, q.prediction_id from queue_skips s join queue q on q.id = s.queue_id
        where s.reviewer = :reviewer and {AVAILABLE.format(entry="q")}
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


def _after(moment: str) -> str:
    return utc((datetime.fromisoformat(moment).astimezone(UTC) + LEASE_DURATION).isoformat())
