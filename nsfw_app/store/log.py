"""The correction log: decisions, appended and never changed, and what of them stands."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sqlite_utils import Database

from nsfw_app.errors import DecisionError, NotFound
from nsfw_app.imaging.image_warnings import warnings_of
from nsfw_app.records import Decision, Facets, Label, LogFilter, NewDecision
from nsfw_app.rules.permissions import Caller
from nsfw_app.store.catalog import Catalog
from nsfw_app.store.connections import Connections, now
from nsfw_app.store.queue_entries import ReviewQueue
from nsfw_app.store.states import reported_changes

# Others' answers about an image that still wants one from this reviewer.
BLIND = """not (reviewer is not :blind_to and exists (
  select 1 from queue q join predictions p on p.id = q.prediction_id
  where q.settled_at is null and q.answers_wanted > 1
    and p.image_sha256 = correction_log.image_sha256 and p.model = correction_log.model
    and p.revision = correction_log.revision and p.backend = correction_log.backend
    and not exists (
      select 1 from standing_answers a where a.prediction_id = p.id and a.reviewer = :blind_to
    )
))"""
PARAMETER = re.compile(r":(\w+)")
ROWS_AT_ONCE = 500  # read ahead while the log is streamed


class CorrectionLog:
    """Decisions about the catalog's images. What a method returned is committed.

    Args:
        connections: The database.
        catalog: Where the images are.
        queue: Told of every change, in the same transaction.
    """

    def __init__(self, connections: Connections, *, catalog: Catalog, queue: ReviewQueue) -> None:
        self._connections = connections
        self._catalog = catalog
        self._queue = queue

    def add(self, answer: NewDecision, caller: Caller) -> Decision:
        """Append an answer about an image the caller may see. The same nonce again changes nothing.

        Raises:
            NotFound: They may see no such image, or that model made no prediction of it.
            DecisionError: The nonce belongs to another answer.
        """
        return self.add_all([answer], caller)[0]

    def add_all(self, answers: Sequence[NewDecision], caller: Caller) -> list[Decision]:
        """Append answers, all or none; see `add`."""
        with self._connections.writing() as db, reported_changes(db) as watch:
            return [self._add(db, answer, caller, watch) for answer in answers]

    def undo(self, decision_id: int, *, reviewer: str, nonce: str) -> Decision:
        """Append a row that takes a decision back. Taking it back again changes nothing.

        Raises:
            NotFound: This reviewer made no such decision.
            DecisionError: The nonce belongs to another answer.
        """
        with self._connections.writing() as db, reported_changes(db) as watch:
            return self._undo(db, decision_id, reviewer, nonce, watch)

    def undo_batch(self, batch_id: str, *, reviewer: str, nonce: str) -> list[Decision]:
        """Take back every decision of this reviewer under a batch id that stands.

        The same nonce again changes nothing.

        Raises:
            NotFound: There is none.
        """
        with self._connections.writing() as db, reported_changes(db) as watch:
            rows = db.execute(
                """
                select d.id from decisions d where d.batch_id = ? and d.reviewer = ?
                  and d.label is not null
                  and not exists (select 1 from decisions u where u.undoes = d.id)
                order by d.id
                """,
                (batch_id, reviewer),
            ).fetchall()
            if not rows:
                rows = db.execute(
                    "select undoes as id from decisions where batch_id = ? and reviewer = ? "
                    "and undoes is not null and substr(nonce, 1, ?) = ? order by id",
                    (batch_id, reviewer, len(nonce) + 1, f"{nonce}-"),
                ).fetchall()
                if rows:
                    return [self.get(row["id"]) for row in rows]
                raise NotFound(f"No batch {batch_id} of yours is known, or it is undone already.")
            return [
                self._undo(db, row["id"], reviewer, f"{nonce}-{number}", watch)
                for number, row in enumerate(rows)
            ]

    def _add(
        self, db: Database, answer: NewDecision, caller: Caller, watch: Callable[[int], None]
    ) -> Decision:
        reviewer = caller.name
        upload = self._catalog.upload(answer.image_sha256, caller, answer.name, answer.batch_id)
        prediction = self._connections.row(
            """
            select id, nsfw_score from predictions
            where image_sha256 = ? and model = ? and revision = ? and backend = ?
            """,
            (answer.image_sha256, answer.model, answer.revision, answer.backend),
        )
        if upload is None or prediction is None:
            raise NotFound(
                f"There is no prediction by {answer.model} of an image {answer.image_sha256} "
                "that you may see. Add the image first."
            )
        stored = self._catalog.get(prediction["id"])
        warnings = warnings_of(upload["name"], stored.info, stored.prediction.ground)
        flagged = prediction["nsfw_score"] >= answer.threshold
        db.execute(
            """
            insert into decisions
              (nonce, decided_at, reviewer, prediction_id, name, source, threshold,
               model_label, label, reasons, note, batch_id, elapsed_ms, warnings)
            values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict (nonce) do nothing
            """,
            (
                answer.nonce,
                now(),
                reviewer,
                prediction["id"],
                upload["name"],
                upload["source"],
                answer.threshold,
                Label.NSFW if flagged else Label.NORMAL,
                answer.label,
                json.dumps(list(answer.reasons)),
                answer.note,
                answer.batch_id or upload["batch_id"],
                answer.elapsed_ms,
                json.dumps([warning.code for warning in warnings]),
            ),
        )
        row = self._connections.row(
            """
            select d.id from decisions d
            where d.nonce = ? and d.reviewer = ? and d.prediction_id = ? and d.label = ?
            """,
            (answer.nonce, reviewer, prediction["id"], answer.label),
        )
        if row is None:
            raise DecisionError("This nonce was used for another answer. Send a new one.")
        watch(prediction["id"])
        self._queue.reconsider(db, prediction["id"], reviewer)
        return self.get(row["id"])

    def _undo(
        self,
        db: Database,
        decision_id: int,
        reviewer: str,
        nonce: str,
        watch: Callable[[int], None],
    ) -> Decision:
        db.execute(
            """
            insert into decisions
              (nonce, decided_at, reviewer, prediction_id, name, source, threshold,
               model_label, label, reasons, note, batch_id, undoes)
            select ?, ?, reviewer, prediction_id, name, source, threshold, model_label, null,
              '[]', '', batch_id, id
            from decisions where id = ? and reviewer = ? and label is not null
            on conflict do nothing
            """,
            (nonce, now(), decision_id, reviewer),
        )
        decision = self.get(decision_id)
        if decision.reviewer != reviewer:
            raise NotFound(f"No decision {decision_id} of yours is known.")
        undoing = self._connections.row(
            "select prediction_id from decisions where undoes = ?", (decision_id,)
        )
        if undoing is None:
            raise DecisionError("This nonce was used for another answer. Send a new one.")
        watch(undoing["prediction_id"])
        self._queue.reconsider(db, undoing["prediction_id"], reviewer)
        return decision

    def get(self, decision_id: int) -> Decision:
        """One row of the correction log.

        Raises:
            NotFound: There is none.
        """
        row = self._connections.row(
            "select * from correction_log where decision_id = ?", (decision_id,)
        )
        if row is None:
            raise NotFound(f"No decision {decision_id} of yours is known.")
        return _decision(row)

    def standing(
        self, image_sha256: str, *, model: str, revision: str, backend: str, reviewer: str
    ) -> Decision | None:
        """The reviewer's answer about this model's prediction that stands, if any."""
        row = self._connections.row(
            """
            select * from correction_log where image_sha256 = ? and model = ? and revision = ?
              and backend = ? and reviewer = ? and not undone
            """,
            (image_sha256, model, revision, backend, reviewer),
        )
        return row and _decision(row)

    def page(self, wanted: LogFilter, *, limit: int, offset: int = 0) -> list[Decision]:
        """A page of the log, newest first."""
        where, values = _conditions(wanted)
        rows = self._connections.db.execute(
            f"select * from correction_log where {where} "
            "order by decision_id desc limit :limit offset :offset",
            {**values, "limit": limit, "offset": offset},
        )
        return [_decision(row) for row in rows]

    def size(self, wanted: LogFilter) -> int:
        """How many rows of the log the filter leaves."""
        where, values = _conditions(wanted)
        sql = f"select count(*) as n from correction_log where {where}"
        return int(self._connections.db.execute(sql, values).fetchone()["n"])

    def rows(self, wanted: LogFilter) -> Iterator[Decision]:
        """The log, newest first, read in pages so that memory does not grow with it.

        Rows added while it is read do not appear. Each page may be read by another thread.
        """
        where, values = _conditions(wanted)
        sql = (
            f"select * from correction_log where {where} and decision_id < :before "
            "order by decision_id desc limit :limit"
        )
        before = (1 << 63) - 1
        while True:
            page = self._connections.db.execute(
                sql, {**values, "before": before, "limit": ROWS_AT_ONCE}
            ).fetchall()
            yield from map(_decision, page)
            if len(page) < ROWS_AT_ONCE:
                return
            before = page[-1]["decision_id"]

    def facets(self, wanted: LogFilter) -> Facets:
        """The reviewers and models among the rows that the filter leaves."""
        where, values = _conditions(wanted)
        reviewers, models = (
            self._connections.db.execute(
                f"select distinct {column} from correction_log where {where} order by 1", values
            )
            for column in ("reviewer", "model")
        )
        return Facets([row[0] for row in reviewers], [row[0] for row in models])


def _conditions(wanted: LogFilter) -> tuple[str, dict[str, Any]]:
    """The filter in SQL; every value travels as a parameter."""
    clauses = {
        "reviewer = :reviewer": wanted.reviewer,
        "reviewer_label = :label": wanted.label,
        "agrees = :agrees": wanted.agrees,
        "model = :model": wanted.model,
        "decided_at >= :since": wanted.since,
        "decided_at < :until": wanted.until,
        "undone = :undone": wanted.undone,
        BLIND: wanted.blind_to,
    }
    used = {clause: value for clause, value in clauses.items() if value is not None}
    names = {PARAMETER.findall(clause)[-1]: value for clause, value in used.items()}
    return " and ".join(used) or "true", names


def _decision(row: Any) -> Decision:
    values = dict(row)
    values["reasons"] = tuple(json.loads(values["reasons"]))
    values["warnings"] = tuple(json.loads(values["warnings"]))
    values["agrees"] = bool(values["agrees"])
    values["undone"] = bool(values["undone"])
    return Decision(**values)
