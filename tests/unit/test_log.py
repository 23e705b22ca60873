"""The correction log: append-only rows, standing decisions, filters and pages."""

import sqlite3
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from nsfw_app.decision import Decision
from nsfw_app.errors import DecisionError, NotFound
from nsfw_app.records import Label, LogFilter, Reason
from nsfw_app.store import Store
from nsfw_app.store.log import CorrectionLog, Facets
from tests.support.sample_records import OTHER, SHA256, add, add_image, answer, person, standing

EVERYTHING = LogFilter()


@pytest.fixture
def log(store: Store) -> CorrectionLog:
    """A log, and one image of Ann's with score 0.9."""
    add_image(store)
    return store.log


@pytest.fixture
def database(store: Store, tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A connection to the database without the store."""
    with closing(sqlite3.connect(tmp_path / "review.db")) as connection:
        yield connection


def repeat(database: sqlite3.Connection, count: int, *, decided_at: str, note: str = "") -> None:
    """Append the newest decision again, as if made at that time."""
    database.execute(
        """
        insert into decisions (nonce, decided_at, reviewer, prediction_id, name, source, threshold,
          model_label, label, reasons, note, batch_id)
        with recursive n (i) as (select 1 union all select i + 1 from n where i < ?)
        select hex(randomblob(16)), ?, reviewer, prediction_id, name, source, threshold,
          model_label, label, reasons, ?, batch_id
        from decisions, n where id = (select max(id) from decisions)
        """,
        (count, decided_at, note),
    )
    database.commit()


def size(database: sqlite3.Connection) -> int:
    """Rows in the table, undos included."""
    return int(database.execute("select count(*) from decisions").fetchone()[0])


def test_decision_holds_what_was_on_screen(log: CorrectionLog) -> None:
    """A decision has its label, the stored score and the source of the image."""
    made = answer("n", threshold=0.25, reasons=(Reason.ART, Reason.OTHER), note="x")
    decision = add(log, made, reviewer="bob")
    expected = Decision(
        1, decision.decided_at, "bob", SHA256, "a.png", "gallery", "fake", "r1", "test", 0.9, 0.25,
        "nsfw", "normal", False, ("art", "other"), "x", "batch 1", False,
        False, None, None, None, 1, None, (), None, None,
    )  # fmt: skip
    assert decision == log.get(1) == expected
    assert decision.decided_at.endswith("Z")


@pytest.mark.parametrize(("threshold", "label"), [(0.9, "nsfw"), (0.9001, "normal")])
def test_models_label_is_the_one_at_the_threshold(
    log: CorrectionLog, threshold: float, label: str
) -> None:
    """The model's label in the log is computed at the threshold that the reviewer saw."""
    assert add(log, answer("n", threshold=threshold)).model_label == label


@pytest.mark.parametrize(
    ("label", "agrees"), [(Label.NSFW, True), (Label.NORMAL, False), (Label.UNSURE, None)]
)
def test_agreement_is_the_same_label(log: CorrectionLog, label: Label, agrees: bool | None) -> None:
    """A reviewer agrees who says what the model says; unsure neither agrees nor disagrees."""
    assert add(log, answer("n", label)).agrees is agrees


@pytest.mark.parametrize("change", ["update decisions set note = 'x'", "delete from decisions"])
def test_decisions_are_append_only(
    log: CorrectionLog, database: sqlite3.Connection, change: str
) -> None:
    """No program can change or delete a decision."""
    decision = add(log, answer("n"))
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        database.execute(change)
    assert list(log.rows(EVERYTHING)) == [decision]


def test_repeated_request_is_recorded_once(
    log: CorrectionLog, database: sqlite3.Connection
) -> None:
    """The same nonce sent again changes nothing and gives the same decision."""
    first = add(log, answer("n"))
    assert add(log, answer("n", note="again")) == first
    assert size(database) == 1


def test_nonce_belongs_to_one_decision(log: CorrectionLog, database: sqlite3.Connection) -> None:
    """A nonce of another decision is refused, and nothing is written."""
    decision = add(log, answer("n"))
    for made, reviewer in [(answer("n", Label.NSFW), "ann"), (answer("n"), "bob")]:
        with pytest.raises(DecisionError, match="nonce"):
            add(log, made, reviewer=reviewer)
    with pytest.raises(DecisionError, match="nonce"):
        log.undo(decision.decision_id, reviewer="ann", nonce="n")
    assert size(database) == 1


def test_undo_that_was_not_recorded_is_not_reported_as_done(log: CorrectionLog) -> None:
    """An undo under a used nonce is refused also when the decision was replaced since."""
    first = add(log, answer("1"))
    add(log, answer("2", Label.NSFW))
    with pytest.raises(DecisionError, match="nonce"):
        log.undo(first.decision_id, reviewer="ann", nonce="2")


def test_undo_is_a_new_row(log: CorrectionLog, database: sqlite3.Connection) -> None:
    """An undo adds one row that refers to the decision, which is then undone."""
    decision = add(log, answer("1"))
    undone = log.undo(decision.decision_id, reviewer="ann", nonce="2")
    assert undone == replace(decision, undone=True)
    assert log.undo(decision.decision_id, reviewer="ann", nonce="3") == undone
    rows = database.execute("select label, undoes from decisions order by id").fetchall()
    assert rows == [("normal", None), (None, decision.decision_id)]
    assert list(log.rows(EVERYTHING)) == [undone]


def test_standing_decision(log: CorrectionLog) -> None:
    """The latest decision that is not undone stands; its undo restores the one before."""
    assert standing(log, reviewer="ann") is None
    first, second = add(log, answer("1")), add(log, answer("2", Label.NSFW))
    assert standing(log, reviewer="ann") == second
    assert log.get(first.decision_id).undone
    log.undo(second.decision_id, reviewer="ann", nonce="3")
    assert standing(log, reviewer="ann") == first
    log.undo(first.decision_id, reviewer="ann", nonce="4")
    assert standing(log, reviewer="ann") is None
    third = add(log, answer("5"))
    assert standing(log, reviewer="ann") == third


def test_standing_decision_is_per_reviewer(log: CorrectionLog) -> None:
    """A decision replaces only decisions of its reviewer, who alone can undo it."""
    by_ann = add(log, answer("1"))
    by_bob = add(log, answer("2", Label.UNSURE), reviewer="bob")
    with pytest.raises(NotFound):
        log.undo(by_ann.decision_id, reviewer="bob", nonce="3")
    assert standing(log, reviewer="ann") == by_ann
    assert standing(log, reviewer="bob") == by_bob


def test_standing_decision_is_per_model(store: Store, log: CorrectionLog) -> None:
    """A decision about one model's prediction does not replace one about another's."""
    add_image(store, identity=OTHER)
    first, second = add(log, answer("1")), add(log, answer("2", model="other"))
    assert standing(log, reviewer="ann") == first
    assert standing(log, OTHER, reviewer="ann") == second


def test_unknown_is_not_found(log: CorrectionLog, database: sqlite3.Connection) -> None:
    """An unknown row, image or prediction, or another owner's image: each is NotFound."""
    undone = add(log, answer("1"))
    log.undo(undone.decision_id, reviewer="ann", nonce="2")
    refused: list[Callable[[], Decision]] = [
        lambda: log.get(99),
        lambda: log.undo(99, reviewer="ann", nonce="3"),
        lambda: log.undo(2, reviewer="ann", nonce="3"),  # an undo is not undone
        lambda: add(log, answer("3", image_sha256="b" * 64)),
        lambda: add(log, answer("3", model="other")),
        lambda: add(log, answer("3", revision="r2")),
        lambda: add(log, answer("3", backend="another")),
        lambda: log.add(answer("3"), person("cy")),
    ]
    for call in refused:
        with pytest.raises(NotFound):
            call()
    assert size(database) == 2


@pytest.fixture
def full_log(store: Store, log: CorrectionLog, database: sqlite3.Connection) -> CorrectionLog:
    """Two reviewers, two models, all labels, changed and undone decisions, several days."""
    add_image(store, sha256="b" * 64, identity=OTHER)
    add(log, answer("1"))
    repeat(database, 1, decided_at="2001-03-01T12:00:00.000Z")
    add(log, answer("2", Label.UNSURE), reviewer="bob")
    repeat(database, 2, decided_at="2001-03-02T00:00:00.000Z")
    add(log, answer("3", Label.NSFW, image_sha256="b" * 64, model="other"), reviewer="bob")
    log.undo(add(log, answer("4", Label.NSFW)).decision_id, reviewer="ann", nonce="5")
    add(log, answer("6", Label.NSFW))
    return log


FILTERS: list[tuple[LogFilter, Callable[[Decision], bool]]] = [
    (LogFilter(reviewer="bob"), lambda d: d.reviewer == "bob"),
    (LogFilter(label="unsure"), lambda d: d.reviewer_label == "unsure"),
    (LogFilter(agrees=True), lambda d: d.agrees),
    (LogFilter(agrees=False), lambda d: d.agrees is False),
    (LogFilter(model="other"), lambda d: d.model == "other"),
    (LogFilter(since="2001-03-02"), lambda d: d.decided_at >= "2001-03-02"),
    (LogFilter(until="2001-03-02"), lambda d: d.decided_at < "2001-03-02"),
    (LogFilter(undone=True), lambda d: d.undone),
    (LogFilter(undone=False), lambda d: not d.undone),
    (
        LogFilter(reviewer="bob", label="unsure", since="2001-03-02", undone=True),
        lambda d: (d.reviewer, d.reviewer_label, d.undone) == ("bob", "unsure", True),
    ),
]


@pytest.mark.parametrize(("wanted", "matches"), FILTERS, ids=[str(f) for f, _ in FILTERS])
def test_every_filter_leaves_what_it_names(
    full_log: CorrectionLog, wanted: LogFilter, matches: Callable[[Decision], bool]
) -> None:
    """Rows, page and size agree with each other and with the filter in Python."""
    everything = list(full_log.rows(EVERYTHING))
    expected = [decision for decision in everything if matches(decision)]
    assert 0 < len(expected) < len(everything)
    assert list(full_log.rows(wanted)) == full_log.page(wanted, limit=99) == expected
    assert full_log.size(wanted) == len(expected)


@pytest.mark.parametrize(
    "noon", ["2001-03-01T12:00", "2001-03-01T12:00:00", "2001-03-01T12:00:00.000Z",
             "2001-03-01T12:00:00Z", "2001-03-01T12:00:00+00:00", "2001-03-01T14:00:00+02:00"],
)  # fmt: skip
def test_a_moment_is_the_same_however_it_is_written(full_log: CorrectionLog, noon: str) -> None:
    """`since` includes its moment and `until` leaves it out, in every spelling of ISO 8601."""
    day = LogFilter(since="2001-03-01", until="2001-03-02")
    assert (full_log.size(day), full_log.size(replace(day, since=noon))) == (1, 1)
    assert full_log.size(replace(day, until=noon)) == 0


def test_pages_follow_each_other(full_log: CorrectionLog) -> None:
    """Pages, newest first, hold the whole log, each row once."""
    everything = list(full_log.rows(EVERYTHING))
    paged = [full_log.page(EVERYTHING, limit=3)]
    while paged[-1]:
        paged.append(full_log.page(EVERYTHING, limit=3, before=paged[-1][-1].decision_id))
    assert [decision for page in paged for decision in page] == everything
    assert [len(page) for page in paged] == [3, 3, 2, 0]
    ids = [decision.decision_id for decision in everything]
    assert ids == sorted(ids, reverse=True)


def test_facets_are_what_the_log_names(full_log: CorrectionLog) -> None:
    """The facets are the reviewers and models of the log, sorted."""
    assert full_log.facets(LogFilter()) == Facets(["ann", "bob"], ["fake", "other"])


def test_rows_leave_out_concurrent_additions(
    log: CorrectionLog, database: sqlite3.Connection
) -> None:
    """Reading yields each row that existed at the start once, and no later row."""
    add(log, answer("1"))
    repeat(database, 1_200, decided_at="2001-03-01T12:00:00.000Z")
    reading = log.rows(EVERYTHING)
    first = list(islice(reading, 10))
    repeat(database, 700, decided_at="2001-03-01T13:00:00.000Z")
    ids = [decision.decision_id for decision in (*first, *reading)]
    assert ids == list(range(1_201, 0, -1))


def test_rows_need_no_more_memory_for_more_rows(
    log: CorrectionLog, database: sqlite3.Connection
) -> None:
    """Reading twenty megabytes of log never holds more than a few."""
    add(log, answer("1"))
    repeat(database, 10_000, decided_at="2001-03-01T12:00:00.000Z", note="n" * 2_000)
    tracemalloc.start()
    try:
        read = sum(1 for _ in log.rows(EVERYTHING))
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert read == 10_001
    assert peak_bytes < 5_000_000


def test_a_batch_undone_twice_under_one_nonce_is_undone_once(store: Store) -> None:
    """A request that is repeated because its reply was lost gets the same reply."""
    add_image(store)
    add(store.log, answer("n", batch_id="batch"))
    first = store.log.undo_batch("batch", reviewer="ann", nonce="undo")
    assert [decision.undone for decision in first] == [True]
    assert store.log.undo_batch("batch", reviewer="ann", nonce="undo") == first
    with pytest.raises(NotFound):
        store.log.undo_batch("batch", reviewer="ann", nonce="another")
