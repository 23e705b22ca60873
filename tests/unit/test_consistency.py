"""Derived tables: after any sequence of changes they equal their sources."""

import sqlite3
import tempfile
from collections import Counter
from contextlib import closing, suppress
from dataclasses import astuple, replace
from itertools import combinations
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from nsfw_app.decision import NewDecision
from nsfw_app.errors import DecisionRefused, ImageRestricted, NotFound
from nsfw_app.records import (
    ImageInfo,
    JudgedImage,
    Label,
    LogFilter,
    Prediction,
    Preview,
    Reason,
    Retain,
    Upload,
)
from nsfw_app.rules.audit_plan import AuditPlan
from nsfw_app.rules.permissions import UserRole
from nsfw_app.rules.queue import QueueOrder, QueueReason, QueueRules
from nsfw_app.store import Store
from nsfw_app.store.blind_review import Hidden
from nsfw_app.store.connections import now
from nsfw_app.store.consistency import DERIVED, Difference
from tests.support.decisions import count_outcomes
from tests.support.sample_records import FAKE, OTHER, add, add_image, admitted, answer, person

RULES = QueueRules(frozenset(QueueReason), AuditPlan(0.5))
IDENTITIES = (FAKE, replace(FAKE, backend="onnxruntime"), OTHER)
SCORES = (0.1, 0.5, 0.9)
REVIEWERS = ("ann", "bob", "cy", 'd"/\0')


class Scenario:
    """Three images, each with predictions by two backends of a model and by another model."""

    def __init__(self, directory: Path) -> None:
        self.store = Store(
            directory / "review.db",
            previews_dir=directory / "images",
            journal_mode="wal",
            rules=RULES,
        )
        self.made: list[tuple[int, str]] = []
        self.step = 0
        for number, score in enumerate(SCORES):
            info = ImageInfo(f"{number:064x}", "PNG", 4, 3, 99, 1)
            for identity in IDENTITIES:
                probabilities = {"normal": 1 - score, "nsfw": score}
                prediction = Prediction(info.sha256, identity, probabilities, score)
                upload = Upload("a.png", "gallery", "ann", retain=Retain.QUEUE)
                image = JudgedImage(info, prediction, Preview(b"webp"))
                self.store.catalog.record(image, upload, jpeg=b"jpeg")

    def apply(self, action: str, prediction: int, reviewer: int, label: Label) -> None:
        """Perform one action of a reviewer or a program."""
        self.step += 1
        store, name = self.store, REVIEWERS[reviewer]
        image, identity = f"{prediction // 3:064x}", IDENTITIES[prediction % 3]
        if action in {"decide", "decide batch"}:
            made = NewDecision(
                str(self.step), image, label, 0.5,
                identity.model, identity.revision, identity.backend,
                batch_id="b" if action == "decide batch" else "",
                elapsed_ms=self.step,
                reasons=(Reason.MINOR_PRESENT,) if self.step % 7 == 0 else (),
            )  # fmt: skip
            with suppress(DecisionRefused):  # its preview was withdrawn
                decision = store.log.add(made, person(name, owner="ann", role=UserRole.ADMIN))
                self.made.append((decision.decision_id, name))
        elif action == "undo" and self.made:
            decision_id, author = self.made[prediction % len(self.made)]
            store.log.undo(decision_id, reviewer=author, nonce=str(self.step))
        elif action == "undo batch":
            with suppress(NotFound):
                store.log.undo_batch("b", reviewer=name, nonce=str(self.step))
        elif action == "enter":
            reason = list(QueueReason)[self.step % len(QueueReason)]
            found = store.catalog.get(prediction + 1)
            store.catalog.record(found, jpeg=b"jpeg", arrival=admitted(reason))
        elif action == "escalate":
            with suppress(DecisionRefused, ImageRestricted):
                store.queue.escalate(prediction + 1, name)
        elif action == "withdraw":
            with suppress(ImageRestricted):
                store.purges.purge(image, actor="test")
        elif action == "lift":
            with suppress(NotFound):
                store.restrictions.lift(image, actor="test")
        elif action == "train":
            with suppress(NotFound, DecisionRefused):
                chosen = None if label is Label.UNSURE else label
                store.views.add(image, name)
                store.training.decide(prediction + 1, chosen, reviewer=name, seen=True)
        elif action == "claim":
            store.leases.claim(name, count=2)


ACTIONS = """decide decide decide decide undo undo undo_batch decide_batch enter escalate withdraw
    lift train claim""".split()
STEPS = st.tuples(
    st.sampled_from([action.replace("_", " ") for action in ACTIONS]),
    st.integers(0, 8),
    st.integers(0, len(REVIEWERS) - 1),
    st.sampled_from(Label),
)


@settings(max_examples=25, deadline=None)
@given(st.lists(STEPS, min_size=1, max_size=25))
def test_triggers_keep_what_a_recomputation_finds(
    steps: list[tuple[str, int, int, Label]],
) -> None:
    """Decisions, undos, batches, escalations, withdrawals: tables equal their sources."""
    with tempfile.TemporaryDirectory() as directory:
        scenario = Scenario(Path(directory))
        for number, step in enumerate(steps):
            scenario.apply(*step)
            if number == len(steps) // 2:
                assert scenario.store.consistency.check() == []
        assert scenario.store.consistency.check() == []


def test_a_difference_is_found_in_each_table(store: Store, tmp_path: Path) -> None:
    """A row changed by another program counts as one missing and one surplus."""
    add_image(store)
    for name in ("ann", "bob"):
        add(store.log, answer(name), reviewer=name)
    add(store.log, answer("minor", reasons=(Reason.MINOR_PRESENT,)))
    add_image(store, sha256="b" * 64)
    store.catalog.record(store.catalog.get(2), arrival=admitted(QueueReason.REVIEW))
    assert store.consistency.check() == []
    with closing(sqlite3.connect(tmp_path / "review.db", isolation_level=None)) as db:
        triggers = db.execute("select name from sqlite_master where type = 'trigger'").fetchall()
        for (trigger,) in triggers:
            db.execute(f"drop trigger {trigger}")
        changes = {
            "model_identities": "backend = 'x'",
            "standing_decisions": "label = 'unsure'",
            "queue": "nsfw_score = 0.25",
            "queue_counts": "entries = 7",
            "outcomes": "label = 'unsure'",
            "pair_tallies": "images = 7",
            "label_tallies": "images = 7",
            "log_rows": "group_id = group_id + 1",
            "log_groups": "entries = 7",
            "log_tallies": "entries = 7",
            "log_days": "first_id = 7",
            "restricted_images": "decision_id = 1",
        }
        assert changes.keys() == DERIVED.keys()
        for table, change in changes.items():
            db.execute("begin")
            db.execute(f"update {table} set {change}")
            db.execute("commit")
    assert {difference.table for difference in store.consistency.check()} == set(changes)


def test_a_missing_row_is_counted(store: Store, tmp_path: Path) -> None:
    """The difference says how many rows a table lacks."""
    add_image(store)
    add(store.log, answer("n"))
    with closing(sqlite3.connect(tmp_path / "review.db")) as db:
        db.execute("delete from label_tallies")
        db.execute("delete from log_days")
        db.commit()
    assert store.consistency.check() == [Difference("log_days", 1, 0)]


# The same results, computed from decisions and entries alone.
OPEN_TO = """
select q.id from queue q join predictions p on p.id = q.prediction_id
where q.settled_at is null
  and (q.leased_by is null or q.leased_by = :reviewer or q.leased_until <= :now)
  and not exists (
    select 1 from computed_standing_decisions a
    where a.prediction_id = q.prediction_id and a.reviewer = :reviewer
  )
order by exists (select 1 from queue_skips s where s.queue_id = q.id and s.reviewer = :reviewer),
"""
BY_PRIORITY = f"{OPEN_TO} q.priority, abs(p.nsfw_score - 0.4), q.entered_at, q.id"
BY_AGE = f"{OPEN_TO} q.entered_at, q.id"
HIDDEN = """
exists (
  select 1 from queue q where q.prediction_id = d.prediction_id
    and q.settled_at is null
    and not exists (
      select 1 from computed_standing_decisions a
      where a.prediction_id = d.prediction_id and a.reviewer = :reviewer
    )
)
"""
LOG = f"""
select d.id from decisions d
where d.label is not null and (d.reviewer = :reviewer or not {HIDDEN}) order by d.id desc
"""
LABELS = f"""
select p.image_sha256, d.reviewer, d.label, p.model, p.id
from computed_standing_decisions d join predictions p on p.id = d.prediction_id
where :reviewer is null or not {HIDDEN} order by d.decision_id
"""


@settings(max_examples=25, deadline=None)
@given(st.lists(STEPS, min_size=1, max_size=25))
def test_answers_from_derived_tables_are_those_of_their_sources(
    steps: list[tuple[str, int, int, Label]],
) -> None:
    """Queue, log and insights of each reviewer equal those computed from log and queue."""
    with tempfile.TemporaryDirectory() as directory:
        scenario = Scenario(Path(directory))
        for step in steps:
            scenario.apply(*step)
        store = scenario.store
        db = store.log._connections.db
        for reviewer in REVIEWERS:
            values = {"reviewer": reviewer, "now": now()}

            def ids(sql: str, values: dict[str, str] = values) -> list[int]:
                return [row[0] for row in db.execute(sql, values)]

            assert store.leases.waiting(reviewer) == len(ids(BY_PRIORITY))
            for order, sql in (("priority", BY_PRIORITY), ("oldest", BY_AGE)):
                expected = ids(sql)
                for count in (3, 99):
                    leases = store.leases.claim(
                        reviewer, count=count, threshold=0.4, order=QueueOrder(order)
                    )
                    assert [lease.entry_id for lease in leases] == expected[:count]
                store.leases.release(expected, reviewer)
            check_log(store, LogFilter(blind_to=reviewer), ids(LOG))
        for viewer in (None, *REVIEWERS):
            check_insights(store, viewer)


def check_log(store: Store, wanted: LogFilter, expected: list[int]) -> None:
    """Rows, size, facets, pages and what is hidden are those of these decisions."""
    rows = list(store.log.rows(wanted))
    assert [row.decision_id for row in rows] == expected
    assert store.log.size(wanted) == len(expected)
    facets = store.log.facets(wanted)
    assert facets.reviewers == sorted({row.reviewer for row in rows})
    assert facets.models == sorted({row.model for row in rows})
    for place, row in enumerate(rows):
        older = store.log.page(wanted, limit=2, before=row.decision_id)
        assert older == rows[place + 1 : place + 3]
        assert store.log.search(wanted, limit=2, before=row.decision_id).rows == older
    if wanted == LogFilter(blind_to=wanted.blind_to):
        hidden = [row for row in store.log.rows(LogFilter()) if row not in rows]
        images = {row.image_sha256 for row in hidden}
        assert store.log.hidden(wanted.blind_to) == Hidden(len(hidden), len(images))


def check_insights(store: Store, viewer: str | None) -> None:
    """Agreement between reviewers, and numbers of decisions, by one pass over the decisions."""
    rows = store.log._connections.db.execute(LABELS, {"reviewer": viewer}).fetchall()
    images: dict[str, dict[str, str]] = {}
    for row in rows:
        images.setdefault(row["image_sha256"], {})[row["reviewer"]] = row["label"]
    pairs: Counter[tuple[str, ...]] = Counter()
    labels: Counter[tuple[int, ...]] = Counter()
    for decisions in images.values():
        for first, second in combinations(sorted(decisions), 2):
            pairs[first, second, decisions[first], decisions[second]] += 1
        if len(decisions) > 1:
            labels[tuple(list(decisions.values()).count(label) for label in Label)] += 1
    found_pairs, found_labels = store.standing_decisions.shared_counts(viewer=viewer)
    assert {astuple(pair)[:4]: pair.images for pair in found_pairs} == pairs
    assert {astuple(count)[:3]: count.images for count in found_labels} == labels
    stats = store.standing_decisions.reviewer_stats(viewer=viewer)
    assert {each.reviewer: each.answers for each in stats} == Counter(r["reviewer"] for r in rows)
    assert count_outcomes(store, viewer=viewer).total() == len({row["id"] for row in rows})
