"""Leases of queue entries, each for one reviewer.

- An entry is leased to one reviewer at most, because a claim is one statement.
- A lease expires. One that ends later than two leases from now began before the clock was set
  back, and has expired as well.
- No reviewer is offered an image that they decided on.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlite_utils import Database

from nsfw_app.records import utc
from nsfw_app.rules.queue import QueueOrder
from nsfw_app.store.connections import Connections, now

LEASE = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Lease:
    """An entry lent to a reviewer. What others answered is not part of it."""

    entry_id: int
    prediction_id: int


class Leases:
    """Loans of the queue's entries."""

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
        """Lend the next entries to a reviewer.

        Args:
            reviewer: Who; entries this reviewer has answered are never lent to them.
            count: How many at most.
            holding: Entries the reviewer has at hand already.
            threshold: Entries nearest to it come first within a priority.
            order: Or the oldest first.
            first: An entry that comes before all others, when it can be had.
        """
        moment = now()
        sorting = {
            QueueOrder.PRIORITY: "q.priority, abs(p.nsfw_score - :threshold), q.entered_at, q.id",
            QueueOrder.OLDEST: "q.entered_at, q.id",
        }[order]
        with self._connections.writing() as db:
            rows = db.execute(
                f"""
                update queue set leased_by = :reviewer, leased_until = :until
                where id in (
                  select q.id from queue q join predictions p on p.id = q.prediction_id
                  where q.settled_at is null
                    and (q.leased_by is null or q.leased_by = :reviewer
                      or q.leased_until <= :now or q.leased_until > :latest)
                    and q.id not in (select value from json_each(:holding))
                    and not exists (
                      select 1 from standing_answers a
                      where a.prediction_id = q.prediction_id and a.reviewer = :reviewer
                    )
                  order by q.id is :first desc, exists (
                    select 1 from queue_skips s
                    where s.queue_id = q.id and s.reviewer = :reviewer
                  ), {sorting}
                  limit :count
                )
                returning id, prediction_id, entered_at, priority,
                  (select abs(p.nsfw_score - :threshold) from predictions p
                   where p.id = prediction_id) as distance,
                  exists (select 1 from queue_skips s
                          where s.queue_id = queue.id and s.reviewer = :reviewer) as skipped
                """,
                {
                    "reviewer": reviewer,
                    "until": _after(moment),
                    "latest": _after(_after(moment)),
                    "now": moment,
                    "holding": json.dumps(list(holding)),
                    "threshold": threshold,
                    "count": count,
                    "first": first,
                },
            ).fetchall()
        by_priority = order is QueueOrder.PRIORITY
        rows.sort(
            key=lambda r: (
                r["id"] != first,
                r["skipped"],
                *((r["priority"], r["distance"]) if by_priority else ()),
                r["entered_at"],
                r["id"],
            )
        )
        return [Lease(row["id"], row["prediction_id"]) for row in rows]

    def renew(self, entry_ids: Sequence[int], reviewer: str) -> list[int]:
        """Keep entries for another while; the ones that are still this reviewer's."""
        moment = now()
        with self._connections.writing() as db:
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
        """Give entries back."""
        with self._connections.writing() as db:
            db.execute(
                "update queue set leased_by = null, leased_until = null "
                "where id in (select value from json_each(?)) and leased_by = ?",
                (json.dumps(list(entry_ids)), reviewer),
            )

    def skip(self, entry_id: int, reviewer: str) -> None:
        """Give an entry back; this reviewer sees it again after all others."""
        with self._connections.writing() as db:
            note_skip(db, entry_id, reviewer)
        self.release([entry_id], reviewer)

    def waiting(self, reviewer: str) -> int:
        """How many entries this reviewer could be offered, those on loan to them included."""
        moment = now()
        row = self._connections.row(
            """
            select count(*) as n from queue q where q.settled_at is null
              and (q.leased_by is null or q.leased_by = :reviewer
                or q.leased_until <= :now or q.leased_until > :latest)
              and not exists (
                select 1 from standing_answers a
                where a.prediction_id = q.prediction_id and a.reviewer = :reviewer
              )
            """,
            {"reviewer": reviewer, "now": moment, "latest": _after(_after(moment))},
        )
        return int(row["n"])


def note_skip(db: Database, entry_id: int, reviewer: str) -> None:
    """Let an entry come after all others for this reviewer, within an open transaction."""
    db.execute(
        "insert into queue_skips select id, ?, ? from queue where id = ? on conflict do nothing",
        (reviewer, now(), entry_id),
    )


def _after(moment: str) -> str:
    return utc((datetime.fromisoformat(moment).astimezone(UTC) + LEASE).isoformat())
