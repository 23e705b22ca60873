"""The correction log: append-only decisions, read by page, filter and reviewer."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlite_utils import Database

from nsfw_app.decision import Decision, NewDecision
from nsfw_app.errors import DecisionError, DecisionRefused, NotFound, Refusal
from nsfw_app.imaging.image_warnings import warnings_of
from nsfw_app.records import (
    Label,
    LogFilter,
    ModelIdentity,
    Reason,
)
from nsfw_app.rules.decisions import DecisionRules
from nsfw_app.rules.permissions import Caller
from nsfw_app.store.audit import AuditAction, note
from nsfw_app.store.blind_review import Hidden, count_hidden
from nsfw_app.store.catalog import Catalog
from nsfw_app.store.connections import Connections, now
from nsfw_app.store.log_query import LogQuery
from nsfw_app.store.previews import PreviewFiles
from nsfw_app.store.queue_entries import ReviewQueue, withdraw_images
from nsfw_app.store.states import webhooks_on_state_change

# What the database knows about a decision that is made now. Version 1 of a policy is that of
# the settings, and is stored when the second one is.
CIRCUMSTANCES = """
select
  exists (
    select 1 from preview_views where image_sha256 = :image and reviewer = :reviewer
  ) as viewed,
  case when q.adjudicating then 'adjudication' else q.reason end as queue_reason,
  q.draw_probability,
  coalesce(
    case when :version = 1 then 1 end,
    (select version from policies where model = :model and version = :version),
    (select max(version) from policies where model = :model),
    1
  ) as policy_version
from (select 1) left join queue q on q.id = :entry and q.prediction_id = :prediction
"""
ROWS_AT_ONCE = 500  # read ahead while the log is streamed
SEARCHED_ROWS = 20_000  # by name, note, reason or category, in about 10 ms
MAX_ID = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Facets:
    """Values that the log can be filtered by."""

    reviewers: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Found:
    """Rows that a search found, and the id of the last row it read; None when it read them all."""

    rows: list[Decision]
    searched_to: int | None


@dataclass(frozen=True, slots=True)
class _Circumstances:
    """What a new decision is stored with, and why it is refused, if it is."""

    image: str
    prediction_id: int
    name: str
    source: str
    batch_id: str
    model_label: Label
    warnings: list[str]
    seen: bool
    queue_reason: str | None
    draw_probability: float | None
    policy_version: int
    refusal: Refusal | None


class CorrectionLog:
    """Adds, undoes and reads decisions. A method returns after its commit.

    Args:
        connections: The database.
        catalog: The images.
        queue: Entries are settled or reopened in the transaction of each decision.
        previews: The preview files, without which an image cannot be decided.
        rules: Which decisions are refused.
        keeps_previews: Whether retention keeps previews. Where it keeps none, reviewers can decide
            on their own uploads: the browser has the bytes.
    """

    def __init__(
        self,
        connections: Connections,
        *,
        catalog: Catalog,
        queue: ReviewQueue,
        previews: PreviewFiles,
        rules: DecisionRules,
        keeps_previews: bool,
    ) -> None:
        self._connections = connections
        self._catalog = catalog
        self._queue = queue
        self._previews = previews
        self._rules = rules
        self._keeps_previews = keeps_previews

    def add(self, new: NewDecision, caller: Caller) -> Decision:
        """Append a decision about an image that the caller may see; idempotent by its nonce.

        Raises:
            NotFound: The caller may see no such image, or it has no prediction by that model.
            DecisionError: The nonce belongs to another decision.
            DecisionRefused: The rules refuse it.
        """
        return self.add_all([new], caller)[0]

    def add_all(self, decisions: Sequence[NewDecision], caller: Caller) -> list[Decision]:
        """Append decisions, all or none; see `add`."""
        with self._connections.writing() as db, webhooks_on_state_change(db) as watch:
            circumstances = [
                self._circumstances(db, new, caller)
                if self._recorded(db, new, caller.name) is None
                else None
                for new in decisions
            ]
            refused = [
                (made.refusal, made.image) for made in circumstances if made and made.refusal
            ]
            if refused:
                reason = refused[0][0]
                raise DecisionRefused(reason, [image for each, image in refused if each is reason])
            return [
                self._add(db, new, caller, made, watch)
                for new, made in zip(decisions, circumstances, strict=True)
            ]

    def undo(self, decision_id: int, *, reviewer: str, nonce: str) -> Decision:
        """Append a row that undoes a decision. Undoing it again changes nothing.

        Raises:
            NotFound: This reviewer made no such decision.
            DecisionError: The nonce belongs to another decision.
        """
        with self._connections.writing() as db, webhooks_on_state_change(db) as watch:
            return self._undo(db, decision_id, reviewer, nonce, watch)

    def undo_batch(self, batch_id: str, *, reviewer: str, nonce: str) -> list[Decision]:
        """Undo every decision of this reviewer under a batch id; idempotent by the nonce.

        Raises:
            NotFound: There is none that is not undone.
        """
        with self._connections.writing() as db, webhooks_on_state_change(db) as watch:
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
                raise NotFound(f"You have no batch {batch_id}, or it is already undone.")
            return [
                self._undo(db, row["id"], reviewer, f"{nonce}-{number}", watch)
                for number, row in enumerate(rows)
            ]

    def _recorded(self, db: Database, new: NewDecision, reviewer: str) -> int | None:
        """The id of a decision that was recorded under this nonce before.

        Raises:
            DecisionError: It is another decision.
        """
        row = db.execute(
            """
            select d.id, d.reviewer, d.label, p.image_sha256, p.model, p.revision, p.backend
            from decisions d join predictions p on p.id = d.prediction_id where d.nonce = ?
            """,
            (new.nonce,),
        ).fetchone()
        if row is None:
            return None
        same = (reviewer, new.label, new.image_sha256, new.model, new.revision, new.backend)
        if tuple(row)[1:] != same:
            raise DecisionError("This nonce was used for another decision. Send a new one.")
        return int(row["id"])

    def _circumstances(self, db: Database, new: NewDecision, caller: Caller) -> "_Circumstances":
        upload = self._catalog.upload(new.image_sha256, caller, new.name, new.batch_id)
        identity = ModelIdentity(new.model, new.revision, "", new.backend)
        image = self._catalog.find(new.image_sha256, identity)
        if upload is None or image is None:
            raise NotFound(
                f"There is no prediction by {new.model} of an image {new.image_sha256} "
                "that you may see. Add the image first."
            )
        row = db.execute(
            CIRCUMSTANCES,
            {
                "image": new.image_sha256,
                "reviewer": caller.name,
                "model": new.model,
                "version": new.policy_version,
                "entry": new.entry_id,
                "prediction": image.prediction_id,
            },
        ).fetchone()
        model_label = Label.NSFW if image.prediction.nsfw_score >= new.threshold else Label.NORMAL
        viewable = (
            row["viewed"]
            or self._previews.has(new.image_sha256)
            or (not self._keeps_previews and self._catalog.owns(new.image_sha256, caller))
        )
        seen = new.seen and bool(row["viewed"])
        warnings = warnings_of(upload["name"], image.info, image.prediction.background)
        return _Circumstances(
            image=new.image_sha256,
            prediction_id=image.prediction_id,
            name=upload["name"],
            source=upload["source"],
            batch_id=new.batch_id or upload["batch_id"],
            model_label=model_label,
            warnings=[warning.code for warning in warnings],
            seen=seen,
            queue_reason=row["queue_reason"],
            draw_probability=row["draw_probability"],
            policy_version=row["policy_version"],
            refusal=self._rules.refusal(
                new,
                model_label=model_label,
                seen=seen,
                viewable=viewable,
                queued=row["queue_reason"] is not None,
                blind=row["queue_reason"] in self._queue.rules.blind,
            ),
        )

    def _add(
        self,
        db: Database,
        new: NewDecision,
        caller: Caller,
        made: "_Circumstances | None",
        watch: Callable[[int], None],
    ) -> Decision:
        # Again, because a batch may have a nonce twice.
        recorded = self._recorded(db, new, caller.name)
        if recorded is not None:
            return self.get(recorded)
        if made is None:
            raise NotFound(f"The decision with the nonce {new.nonce} was not found again.")
        decision_id = db.execute(
            """
            insert into decisions
              (nonce, decided_at, reviewer, prediction_id, name, source, threshold, model_label,
               label, reasons, note, batch_id, elapsed_ms, warnings, seen, seen_ms, queue_reason,
               draw_probability, policy_version, categories)
            values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) returning id
            """,
            (
                new.nonce,
                now(),
                caller.name,
                made.prediction_id,
                made.name,
                made.source,
                new.threshold,
                made.model_label,
                new.label,
                json.dumps(list(new.reasons)),
                new.note,
                made.batch_id,
                new.elapsed_ms,
                json.dumps(made.warnings),
                made.seen,
                new.seen_ms,
                made.queue_reason,
                made.draw_probability,
                made.policy_version,
                None if new.categories is None else json.dumps(list(new.categories)),
            ),
        ).fetchall()[0][0]
        watch(made.prediction_id)
        self._queue.reconsider(db, made.prediction_id, caller.name)
        if Reason.MINOR_PRESENT in new.reasons:
            withdraw_images(db, [made.image], watch)
            note(db, caller.name, AuditAction.RESTRICT, made.image, decision_id=decision_id)
        return self.get(decision_id)

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
            raise NotFound(f"You made no decision {decision_id}.")
        undoing = self._connections.row(
            "select prediction_id from decisions where undoes = ?", (decision_id,)
        )
        if undoing is None:
            raise DecisionError("This nonce was used for another decision. Send a new one.")
        watch(undoing["prediction_id"])
        self._queue.reconsider(db, undoing["prediction_id"], reviewer)
        return decision

    def get(self, decision_id: int) -> Decision:
        """One row of the correction log.

        Raises:
            NotFound: There is no such decision.
        """
        row = self._connections.row(
            "select * from correction_log where decision_id = ?", (decision_id,)
        )
        if row is None:
            raise NotFound(f"You made no decision {decision_id}.")
        return _decision(row)

    def standing(
        self, image_sha256: str, *, model: str, revision: str, backend: str, reviewer: str
    ) -> Decision | None:
        """The reviewer's standing decision about this model's prediction, or None."""
        row = self._connections.row(
            """
            select * from correction_log where image_sha256 = ? and model = ? and revision = ?
              and backend = ? and reviewer = ? and not undone
            """,
            (image_sha256, model, revision, backend, reviewer),
        )
        return row and _decision(row)

    def page(self, wanted: LogFilter, *, limit: int, before: int | None = None) -> list[Decision]:
        """A page of the log, newest first.

        Args:
            wanted: Which rows; no reason, category, search or hash: see `search`.
            limit: How many at most.
            before: The page of the rows next older than this decision id.
        """
        groups = LogQuery(wanted)
        rows = self._connections.db.execute(
            groups.page_sql,
            {**groups.values, "limit": limit, "before": MAX_ID if before is None else before},
        )
        return [_decision(row) for row in rows]

    def search(self, wanted: LogFilter, *, limit: int, before: int | None = None) -> Found:
        """The next rows that a filter with a reason, category, search or hash leaves, newest first.

        Rows of a hash are found by an index. For the others at most `SEARCHED_ROWS` are read.

        Args:
            wanted: Which rows.
            limit: How many at most.
            before: Only rows older than this decision id.
        """
        groups = LogQuery(wanted)
        values = {
            **groups.values,
            "limit": limit,
            "before": MAX_ID if before is None else before,
            "searched": SEARCHED_ROWS,
        }
        with self._connections.reading() as db:
            rows = [_decision(row) for row in db.execute(groups.search_sql, values)]
            if len(rows) == limit:
                return Found(rows, rows[-1].decision_id)
            last, searched = db.execute(groups.search_cursor_sql, values).fetchone()
        return Found(rows, last if searched == SEARCHED_ROWS else None)

    def size(self, wanted: LogFilter) -> int:
        """How many rows of the log the filter leaves."""
        groups = LogQuery(wanted)
        return int(self._connections.row(groups.size_sql, groups.values)[0])

    def rows(self, wanted: LogFilter) -> Iterator[Decision]:
        """The log, newest first, read in pages so that memory does not grow with it.

        Rows added while it is read do not appear. Each page may be read by another thread.
        """
        groups = LogQuery(wanted)
        before = MAX_ID
        while True:
            page = self._connections.db.execute(
                groups.scan_sql, {**groups.values, "before": before, "limit": ROWS_AT_ONCE}
            ).fetchall()
            yield from map(_decision, page)
            if len(page) < ROWS_AT_ONCE:
                return
            before = page[-1]["decision_id"]

    def hidden(self, reviewer: str | None) -> Hidden:
        """What is hidden from a reviewer, with any filter; nothing with None."""
        return count_hidden(self._connections, reviewer)

    def facets(self, wanted: LogFilter) -> Facets:
        """The reviewers and models among the rows that the filter leaves."""
        groups = LogQuery(wanted)
        reviewers, models = (
            self._connections.db.execute(groups.distinct_sql(column), groups.values)
            for column in ("reviewer", "model")
        )
        return Facets([row[0] for row in reviewers], [row[0] for row in models])


def _decision(row: Any) -> Decision:
    values = dict(row)
    values["reasons"] = _texts(values["reasons"])
    values["warnings"] = _texts(values["warnings"])
    values["categories"] = None if values["categories"] is None else _texts(values["categories"])
    for name in ("agrees", "undone", "seen"):
        values[name] = None if values[name] is None else bool(values[name])
    return Decision(**values)


def _texts(array: str) -> tuple[str, ...]:
    return tuple(json.loads(array)) if array != "[]" else ()  # most are empty
