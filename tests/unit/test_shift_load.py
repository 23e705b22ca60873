"""The load test of a shift, small: its checks hold on a real server, and find what they are for."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from benchmarks.reviewer_client import Shift
from benchmarks.shift_load import Load, check_log, run


def test_no_lease_is_doubled_and_no_decision_lost(tmp_path: Path) -> None:
    """Reviewers who work one queue during uploads; every acknowledged decision is in the log."""
    load = Load(reviewers=6, pace_s=0.1, uploads_per_s=5, seconds=3)
    with ThreadPoolExecutor(1) as thread:  # Playwright's event loop may run in this one
        found = thread.submit(run, tmp_path, [load], open_entries=300, settle_s=0).result()
    (measured,) = found["runs"]
    assert found["sound"], found
    assert measured["leased_twice"] == 0
    assert measured["leases"] >= measured["decisions"] > 20
    assert found["log"]["acknowledged"] == measured["decisions"]
    assert (found["log"]["lost"], found["log"]["doubled"]) == (0, 0)
    assert measured["uploaded"] >= 10
    assert not [what for what in measured["refused"] if what.startswith(("claim", "upload"))]


def test_an_entry_that_two_reviewers_hold_is_found() -> None:
    """Until the first sends the request that gives it up."""
    shift = Shift()
    shift.hold(1, "ann")
    shift.give_up(1, "ann")
    shift.hold(1, "bob")
    shift.hold(1, "bob")
    assert shift.doubled == []
    shift.hold(1, "ann")
    assert shift.doubled == [1]


def test_a_lost_decision_is_found(tmp_path: Path) -> None:
    """One that is not in the log, one that has another id, and an undo that is missing."""
    with closing(sqlite3.connect(tmp_path / "review.db")) as db, db:
        db.execute("create table decisions (id integer primary key, nonce text, undoes integer)")
        db.execute("insert into decisions values (1, 'kept', null), (2, 'other', null)")
    shift = Shift(decided={"kept": 1, "other": 3, "gone": 4}, undone={1})
    found = check_log(tmp_path / "review.db", [shift])
    assert (found["acknowledged"], found["lost"], found["undos_lost"]) == (3, 2, 1)
