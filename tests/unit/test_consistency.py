"""Derived tables: after any sequence of changes they hold what their sources say."""

import sqlite3
import tempfile
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nsfw_app.errors import NotFound
from nsfw_app.records import ImageInfo, Label, NewDecision, Prediction, Preview, Upload
from nsfw_app.rules.queue import QueueReason, QueueRules
from nsfw_app.store import Store
from nsfw_app.store.consistency import DERIVED, Difference
from tests.support.sample_records import FAKE, OTHER, add, add_image, answer, person

RULES = QueueRules(frozenset(QueueReason), audit_rate=0.5)
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
                self.store.catalog.add_prediction(
                    info, Prediction(info.sha256, identity, probabilities, score)
                )
            self.store.catalog.set_preview(info.sha256, Preview(b"webp"))
            self.store.catalog.add_upload(info.sha256, Upload("a.png", "gallery", "ann"))

    def apply(self, action: str, prediction: int, reviewer: int, label: Label) -> None:
        """Do one thing that a person or a program does."""
        self.step += 1
        store, name = self.store, REVIEWERS[reviewer]
        image, identity = f"{prediction // 3:064x}", IDENTITIES[prediction % 3]
        if action in {"decide", "decide batch"}:
            made = NewDecision(
                str(self.step), image, label, 0.5,
                identity.model, identity.revision, identity.backend,
                batch_id="b" if action == "decide batch" else "",
                elapsed_ms=self.step,
            )  # fmt: skip
            decision = store.log.add(made, person(name, owner="ann"))
            self.made.append((decision.decision_id, name))
        elif action == "undo" and self.made:
            decision_id, author = self.made[prediction % len(self.made)]
            store.log.undo(decision_id, reviewer=author, nonce=str(self.step))
        elif action == "undo batch":
            with suppress(NotFound):
                store.log.undo_batch("b", reviewer=name, nonce=str(self.step))
        elif action == "enter":
            reason = list(QueueReason)[self.step % len(QueueReason)]
            store.queue.enter(prediction + 1, reason)
        elif action == "escalate":
            store.queue.escalate(prediction + 1, name)
        elif action == "withdraw":
            store.purges.purge(image, actor="test")
        elif action == "train":
            with suppress(NotFound):
                chosen = None if label is Label.UNSURE else label
                store.training.decide(prediction + 1, chosen, reviewer=name)
        elif action == "claim":
            store.leases.claim(name, count=2)


ACTIONS = """decide decide decide decide undo undo undo_batch decide_batch enter escalate withdraw
    train claim""".split()
STEPS = st.tuples(
    st.sampled_from([action.replace("_", " ") for action in ACTIONS]),
    st.integers(0, 8),
    st.integers(0, len(REVIEWERS) - 1),
    st.sampled_from(Label),
)


@settings(max_examples=40, deadline=None)
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
    """A row that was changed behind the product's back is missing, and is one too many."""
    add_image(store)
    for name in ("ann", "bob"):
        add(store.log, answer(name), reviewer=name)
    add_image(store, sha256="b" * 64)
    store.queue.enter(2, QueueReason.REVIEW)
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


@pytest.mark.parametrize("table", DERIVED)
def test_every_derived_table_is_there(store: Store, table: str) -> None:
    """Each name in the list of checks is a table."""
    assert store.log._connections.row(f"select count(*) from {table}")[0] == 0
