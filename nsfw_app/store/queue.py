"""The queue: images that wait for a person, lent to one reviewer at a time.

What always holds: an image is lent to one reviewer at most, because a claim is one statement; a
loan ends by itself; nobody is offered an image they have answered; an entry is settled in the
transaction of the answer that settles it.
"""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlite_utils import Database

from nsfw_app.queueing import (
    ADJUDICATION_PRIORITY,
    PRIORITIES,
    QueueOrder,
    QueueReason,
    QueueRules,
    Settlement,
    settle,
)
from nsfw_app.records import Label, utc
from nsfw_app.store.connections import Connections, now

LEASE = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Claim:
    """An entry lent to a reviewer. What others answered is not part of it."""

    entry_id: int
    prediction_id: int


class ReviewQueue:
    """Entries of the queue.

    Args:
        connections: The database.
        rules: Which reasons are in use, and how many answers each wants.
    """

    def __init__(self, connections: Connections, *, rules: QueueRules) -> None:
        self._connections = connections
        self.rules = rules

    def enter(self, prediction_id: int, reason: QueueReason, *, draw: float | None = None) -> None:
        """Put a prediction into the queue, unless it ever was there or the reason is not in use.

        `draw` is the probability with which it was drawn, for audits.
        """
        with self._connections.writing() as db:
            known = db.execute("select 1 from queue where prediction_id = ?", (prediction_id,))
            if known.fetchone() is None:
                self._enter(db, prediction_id, reason, draw=draw)

    def _enter(
        self, db: Database, prediction_id: int, reason: QueueReason, *, draw: float | None = None
    ) -> None:
        if reason not in self.rules.reasons:
            return
        db.execute(
            """
            insert into queue
              (prediction_id, reason, priority, answers_wanted, draw_probability, entered_at)
            values (?, ?, ?, ?, ?, ?) on conflict do nothing
            """,
            (
                prediction_id,
                reason,
                PRIORITIES[reason],
                self.rules.answers_wanted(reason),
                draw,
                now(),
            ),
        )

    def claim(
        self,
        reviewer: str,
        *,
        count: int,
        holding: Sequence[int] = (),
        threshold: float = 0.5,
        order: QueueOrder = QueueOrder.PRIORITY,
        first: int | None = None,
    ) -> list[Claim]:
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
                      or q.leased_until <= :now)
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
        return [Claim(row["id"], row["prediction_id"]) for row in rows]

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
            self._note_skip(db, entry_id, reviewer)
        self.release([entry_id], reviewer)

    def waiting(self, reviewer: str) -> int:
        """How many entries this reviewer could be offered, those on loan to them included."""
        row = self._connections.row(
            """
            select count(*) as n from queue q where q.settled_at is null
              and (q.leased_by is null or q.leased_by = ? or q.leased_until <= ?)
              and not exists (
                select 1 from standing_answers a
                where a.prediction_id = q.prediction_id and a.reviewer = ?
              )
            """,
            (reviewer, now(), reviewer),
        )
        return int(row["n"])

    def escalate(self, prediction_id: int, reviewer: str) -> bool:
        """Ask others about an image, first of all; the reviewer who asks comes last.

        Returns:
            Whether second opinions are in use.
        """
        reason = QueueReason.SECOND_OPINION
        if reason not in self.rules.reasons:
            return False
        with self._connections.writing() as db:
            self._enter(db, prediction_id, reason)
            entry = db.execute(
                """
                update queue set priority = ?, answers_wanted = ?,
                  reason = case when reason = 'audit' then reason else ? end,
                  leased_by = nullif(leased_by, ?)
                where prediction_id = ? and settled_at is null returning id
                """,
                (
                    PRIORITIES[reason],
                    self.rules.answers_wanted(reason),
                    reason,
                    reviewer,
                    prediction_id,
                ),
            ).fetchone()
            self._note_skip(db, entry["id"], reviewer)
        return True

    def reconsider(self, db: Database, prediction_id: int, reviewer: str) -> None:
        """Settle or reopen a prediction's entry after its answers changed.

        Answers against the model, or that differ, make a new entry when they settle nothing; when
        none is against the model any more, that entry goes and the one before it counts.
        """
        answers = db.execute(
            "select label, model_label from standing_answers where prediction_id = ? order by id",
            (prediction_id,),
        ).fetchall()
        labels = [Label(answer["label"]) for answer in answers]
        against = any(answer["label"] != answer["model_label"] for answer in answers)
        entry = self._latest(db, prediction_id)
        if entry is not None and entry["reason"] == QueueReason.DISAGREEMENT and not against:
            db.execute("delete from queue_skips where queue_id = ?", (entry["id"],))
            db.execute("delete from queue where id = ?", (entry["id"],))
            entry = self._latest(db, prediction_id)
        if entry is not None:
            self._write(db, entry, settle(labels, wanted=entry["answers_wanted"]), reviewer)
        reason = QueueReason.DISAGREEMENT
        outcome = settle(labels, wanted=self.rules.answers_wanted(reason))
        differ = against or len(set(labels)) > 1
        if differ and not outcome.settled and reason in self.rules.reasons:
            self._enter(db, prediction_id, reason)
            latest = self._latest(db, prediction_id)
            if latest is not None and latest["reason"] == reason:
                self._write(db, latest, outcome, reviewer)

    @staticmethod
    def _latest(db: Database, prediction_id: int) -> sqlite3.Row | None:
        row: sqlite3.Row | None = db.execute(
            "select * from queue where prediction_id = ? order by id desc limit 1",
            (prediction_id,),
        ).fetchone()
        return row

    @staticmethod
    def _write(db: Database, entry: sqlite3.Row, outcome: Settlement, reviewer: str) -> None:
        """What becomes of an entry after this reviewer's answer. Others keep what they hold."""
        db.execute(
            """
            update queue set adjudicating = :adjudicating, settled_label = :label,
              priority = case when :adjudicating then :first
                when adjudicating then :usual else priority end,
              settled_at = case when :settled then coalesce(settled_at, :now) end,
              leased_by = case
                when :settled or leased_by = :reviewer then null else leased_by end
            where id = :id
            """,
            {
                "id": entry["id"],
                "adjudicating": outcome.adjudicating,
                "first": ADJUDICATION_PRIORITY,
                "usual": PRIORITIES[QueueReason(entry["reason"])],
                "label": outcome.label,
                "settled": outcome.settled,
                "reviewer": reviewer,
                "now": now(),
            },
        )

    @staticmethod
    def _note_skip(db: Database, entry_id: int, reviewer: str) -> None:
        db.execute(
            "insert into queue_skips select id, ?, ? from queue where id = ? "
            "on conflict do nothing",
            (reviewer, now(), entry_id),
        )


def _after(moment: str) -> str:
    return utc((datetime.fromisoformat(moment).astimezone(UTC) + LEASE).isoformat())
