"""Queue entries: why an image enters the queue, and when it is settled.

- An entry is settled in the transaction of the decision that settles it.
- An image waits only while it has a preview and is not restricted: no entry is opened for another
  one, and what a decision or its undo would reopen is withdrawn instead.
"""

import json
import sqlite3
from collections.abc import Callable, Sequence

from sqlite_utils import Database

from nsfw_app.errors import DecisionRefused, ImageRestricted, LeaseError, NotFound, Refusal
from nsfw_app.records import Label, ModelIdentity, Prediction
from nsfw_app.rules.decisions import contradicts
from nsfw_app.rules.permissions import Caller
from nsfw_app.rules.queue import (
    ADJUDICATION_PRIORITY,
    PRIORITIES,
    Admission,
    EntryReason,
    QueueReason,
    QueueRules,
    Settlement,
    settle,
)
from nsfw_app.store.blind_review import hides_score
from nsfw_app.store.connections import Connections, now
from nsfw_app.store.label_imports import IMPORTED
from nsfw_app.store.leases import note_skip, take_lease
from nsfw_app.store.previews import PreviewFiles
from nsfw_app.store.restrictions import RESTRICTED
from nsfw_app.store.states import webhooks_on_state_change

IN_QUEUE = "(settled_at is null or settled_label is not null)"  # waits, or was settled there
ENTERED = f"select 1 from queue where prediction_id = ? and {IN_QUEUE}"


class ReviewQueue:
    """Adds, escalates and settles entries.

    Args:
        connections: The database.
        previews: The preview files.
        rules: The reasons in use, and how many decisions each needs.
    """

    def __init__(
        self, connections: Connections, previews: PreviewFiles, *, rules: QueueRules
    ) -> None:
        self._connections = connections
        self._previews = previews
        self.rules = rules

    def enter(self, db: Database, prediction_id: int, admission: Admission) -> None:
        """Put a prediction into the queue, unless it ever was there or the reason is not in use.

        Runs inside an open transaction. One that was withdrawn, because its preview was deleted,
        enters again.
        """
        with webhooks_on_state_change(db) as watch:
            watch(prediction_id)
            known = db.execute(ENTERED, (prediction_id,)).fetchone()
            if known is None and admission.reason is not None:
                self._enter(db, prediction_id, admission.reason, admission.draw_probability)

    def has_entered(self, prediction_id: int) -> bool:
        """Whether a prediction waits in the queue or was settled there."""
        return self._connections.row(ENTERED, (prediction_id,)) is not None

    def entered(self, identity: ModelIdentity) -> frozenset[str]:
        """The hashes of images of which a model's prediction waits or was settled there."""
        rows = self._connections.db.execute(
            f"""
            select p.image_sha256 from queue q join predictions p on p.id = q.prediction_id
            where {IN_QUEUE} and p.model = ? and p.revision = ? and p.weights_sha256 = ?
              and p.backend = ?
            """,
            (identity.model, identity.revision, identity.weights_sha256, identity.backend),
        )
        return frozenset(row[0] for row in rows)

    def hides_score(self, prediction_id: int, caller: Caller) -> bool:
        """Whether a prediction's score is hidden from a caller; see `blind_review.hides_score`."""
        return hides_score(self._connections, prediction_id, caller, self.rules.blind)

    def _enter(
        self,
        db: Database,
        prediction_id: int,
        reason: QueueReason,
        draw_probability: float | None = None,
    ) -> None:
        if reason not in self.rules.reasons or self._obstacle(db, prediction_id):
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
                draw_probability,
                now(),
            ),
        )

    def size(self) -> int:
        """Count the open entries, leased or not."""
        row = self._connections.row("select coalesce(sum(entries), 0) as n from queue_counts")
        return int(row["n"])

    def oldest(self) -> dict[EntryReason, str]:
        """When the oldest open entry of each reason entered the queue, leased or not."""
        rows = self._connections.db.execute(
            """
            select g.priority, min((
              select q.entered_at from queue q
              where q.decided_by = g.decided_by and q.priority = g.priority
                and q.settled_at is null
              order by q.entered_at limit 1
            ))
            from queue_counts g where g.entries > 0 group by g.priority
            """
        )
        return {EntryReason.of_priority(row[0]): row[1] for row in rows}

    def escalate(self, prediction_id: int, reviewer: str) -> bool:
        """Request a second opinion with the highest priority; for the requester it comes last.

        Returns:
            Whether second opinions are in use.

        Raises:
            DecisionRefused: The image has no preview.
            ImageRestricted: Administrators only may see it.
        """
        reason = QueueReason.SECOND_OPINION
        if reason not in self.rules.reasons:
            return False
        with self._connections.writing() as db, webhooks_on_state_change(db) as watch:
            if obstacle := self._obstacle(db, prediction_id):
                raise obstacle
            watch(prediction_id)
            before = db.execute(
                "select * from queue where prediction_id = ? and settled_at is null",
                (prediction_id,),
            ).fetchone()
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
            _note_escalation(db, entry["id"], reviewer, before)
            note_skip(db, entry["id"], reviewer)
        return True

    def is_escalated(self, prediction: Prediction, reviewer: str) -> bool:
        """Whether a reviewer requested a second opinion about an image that waits for it."""
        identity = prediction.identity
        row = self._connections.row(
            """
            select 1 from predictions p join queue q on q.prediction_id = p.id
              join escalations e on e.queue_id = q.id
            where p.image_sha256 = ? and p.model = ? and p.revision = ? and p.backend = ?
              and q.settled_at is null and e.reviewer = ?
            """,
            (
                prediction.image_sha256,
                identity.model,
                identity.revision,
                identity.backend,
                reviewer,
            ),
        )
        return row is not None

    def withdraw_escalation(self, prediction_id: int, reviewer: str) -> int | None:
        """Undo a reviewer's request for a second opinion, while no other has decided since.

        The entry is again what it was before, unless others requested one, too.

        Returns:
            The entry, where it is leased to this reviewer again.

        Raises:
            NotFound: This reviewer requested none, or it is decided.
            LeaseError: Another reviewer has decided since.
        """
        with self._connections.writing() as db, webhooks_on_state_change(db) as watch:
            watch(prediction_id)
            escalation = db.execute(
                """
                delete from escalations where reviewer = ? and queue_id = (
                  select id from queue where prediction_id = ? and settled_at is null
                ) returning *
                """,
                (reviewer, prediction_id),
            ).fetchone()
            if escalation is None:
                raise NotFound("You requested no second opinion about this image that is open.")
            entry_id = escalation["queue_id"]
            decided = db.execute(
                "select 1 from standing_decisions "
                "where prediction_id = ? and reviewer <> ? and decided_at >= ?",
                (prediction_id, reviewer, escalation["escalated_at"]),
            ).fetchone()
            if decided:
                raise LeaseError("Another reviewer has decided since you requested this.")
            if not escalation["had_skipped"]:
                db.execute(
                    "delete from queue_skips where queue_id = ? and reviewer = ?",
                    (entry_id, reviewer),
                )
            others = db.execute("select 1 from escalations where queue_id = ?", (entry_id,))
            if others.fetchone() is None:
                _restore(db, escalation)
            self.reconsider(db, prediction_id, reviewer)
            return entry_id if take_lease(db, entry_id, reviewer) else None

    def reconsider(self, db: Database, prediction_id: int, reviewer: str) -> None:
        """Settle or reopen the entry of a prediction after its standing decisions changed.

        - Disagreements with the model, or decisions that differ, open a disagreement entry unless
          they settle the image. Unsure neither disagrees nor differs.
        - When no disagreement stands any more, that entry is deleted and the one before it counts.
        - An image that can no longer wait is withdrawn where it is not settled.
        """
        decisions = db.execute(
            "select label, model_label from standing_answers a "
            f"where prediction_id = ? and not {IMPORTED.format(row='a')} order by id",
            (prediction_id,),
        ).fetchall()
        labels = [Label(decision["label"]) for decision in decisions]
        against = any(contradicts(Label(d["label"]), Label(d["model_label"])) for d in decisions)
        entry = self._latest(db, prediction_id)
        if entry is not None and entry["reason"] == QueueReason.DISAGREEMENT and not against:
            db.execute("delete from queue_skips where queue_id = ?", (entry["id"],))
            db.execute("delete from queue where id = ?", (entry["id"],))
            entry = self._latest(db, prediction_id)
        if entry is not None:
            self._write(db, entry, settle(labels, wanted=entry["answers_wanted"]), reviewer)
        reason = QueueReason.DISAGREEMENT
        outcome = settle(labels, wanted=self.rules.answers_wanted(reason))
        differ = against or len({*labels} - {Label.UNSURE}) > 1
        if differ and not outcome.settled and reason in self.rules.reasons:
            self._enter(db, prediction_id, reason)
            latest = self._latest(db, prediction_id)
            if latest is not None and latest["reason"] == reason:
                self._write(db, latest, outcome, reviewer)
        if self._obstacle(db, prediction_id):
            _withdraw(db, prediction_id)

    def withdraw_unreviewable(self, prediction_ids: Sequence[int]) -> int:
        """Of these open entries, withdraw those whose image has no preview or is restricted.

        Return their number.
        """
        db = self._connections.db
        lost = [number for number in prediction_ids if self._obstacle(db, number)]
        if lost:
            with self._connections.writing() as db, webhooks_on_state_change(db) as watch:
                for number in lost:
                    watch(number)
                    _withdraw(db, number)
        return len(lost)

    def _obstacle(
        self, db: Database, prediction_id: int
    ) -> DecisionRefused | ImageRestricted | None:
        """Why the image of a prediction cannot wait for a decision; None where it can."""
        row = db.execute(
            f"select p.image_sha256, {RESTRICTED.format(image='p.image_sha256')} as restricted "
            "from predictions p where p.id = ?",
            (prediction_id,),
        ).fetchone()
        if row["restricted"]:
            return ImageRestricted()
        if not self._previews.has(row["image_sha256"]):
            return DecisionRefused(Refusal.NO_PREVIEW, [row["image_sha256"]])
        return None

    @staticmethod
    def _latest(db: Database, prediction_id: int) -> sqlite3.Row | None:
        row: sqlite3.Row | None = db.execute(
            "select * from queue where prediction_id = ? order by id desc limit 1",
            (prediction_id,),
        ).fetchone()
        return row

    @staticmethod
    def _write(db: Database, entry: sqlite3.Row, outcome: Settlement, reviewer: str) -> None:
        """Update an entry after this reviewer's decision. Leases of others stay."""
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


def withdraw_images(db: Database, images: Sequence[str], watch: Callable[[int], None]) -> None:
    """Withdraw the open entries of these images, within an open transaction.

    `watch` is that of `webhooks_on_state_change`.
    """
    entries = db.execute(
        """
        select q.id, q.prediction_id from queue q join predictions p on p.id = q.prediction_id
        where q.settled_at is null and p.image_sha256 in (select value from json_each(?))
        """,
        (json.dumps(list(images)),),
    ).fetchall()
    for entry in entries:
        watch(entry["prediction_id"])
        _withdraw(db, entry["prediction_id"])


def _withdraw(db: Database, prediction_id: int) -> None:
    db.execute(
        "update queue set settled_at = ?, settled_label = null, leased_by = null "
        "where prediction_id = ? and settled_at is null",
        (now(), prediction_id),
    )


def _note_escalation(
    db: Database, entry_id: int, reviewer: str, before: sqlite3.Row | None
) -> None:
    """Keep what the entry was before its first escalation, and who requested this one."""
    db.execute(
        """
        insert into escalations
        select :id, :reviewer, :now,
          exists (select 1 from queue_skips where queue_id = :id and reviewer = :reviewer),
          case when first.queue_id is null then :reason else first.reason end,
          case when first.queue_id is null then :priority else first.priority end,
          case when first.queue_id is null then :answers_wanted else first.answers_wanted end
        from (select 1) left join (
          select * from escalations where queue_id = :id limit 1
        ) first
        where true on conflict do nothing
        """,
        {
            "id": entry_id,
            "reviewer": reviewer,
            "now": now(),
            "reason": before and before["reason"],
            "priority": before and before["priority"],
            "answers_wanted": before and before["answers_wanted"],
        },
    )


def _restore(db: Database, escalation: sqlite3.Row) -> None:
    """Make an entry what it was before its escalations; delete one that they opened."""
    entry_id = escalation["queue_id"]
    if escalation["reason"] is None:
        db.execute("delete from queue_skips where queue_id = ?", (entry_id,))
        db.execute("delete from queue where id = ?", (entry_id,))
        return
    db.execute(
        "update queue set reason = ?, priority = ?, answers_wanted = ? where id = ?",
        (escalation["reason"], escalation["priority"], escalation["answers_wanted"], entry_id),
    )
