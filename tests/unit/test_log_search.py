"""Searches of the log: by name, note, reason and hash, read in bounded parts."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from nsfw_app.errors import FilterError
from nsfw_app.records import Category, LogFilter, Reason
from nsfw_app.store import Store
from nsfw_app.store import log as log_module
from nsfw_app.store.log import CorrectionLog
from tests.support.sample_records import add, add_image, answer
from tests.unit.test_log import repeat


@pytest.fixture
def log(store: Store) -> CorrectionLog:
    """Three decisions about two images, with names, notes and reasons."""
    add_image(store, name="Beach 50%.png")
    add_image(store, sha256="b" * 64, name="museum.png")
    add(store.log, answer("1", note="a statue, not a PERSON", reasons=(Reason.ART,)))
    reasons = (Reason.ART, Reason.OTHER)
    made = answer("2", image_sha256="b" * 64, reasons=reasons, categories=(Category.DRAWING,))
    add(store.log, made)
    add(store.log, answer("3", note="beach_volleyball"), reviewer="bob")
    return store.log


@pytest.fixture
def database(store: Store, tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A connection to the database without the store."""
    with closing(sqlite3.connect(tmp_path / "review.db")) as connection:
        yield connection


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (LogFilter(search="BEACH"), [3, 1]),
        (LogFilter(search="person"), [1]),
        (LogFilter(search="50%."), [3, 1]),
        (LogFilter(search="%"), [3, 1]),
        (LogFilter(search="h_v"), [3]),
        (LogFilter(search="\\"), []),
        (LogFilter(reason=Reason.ART), [2, 1]),
        (LogFilter(reason=Reason.OTHER), [2]),
        (LogFilter(category=Category.DRAWING), [2]),
        (LogFilter(category=Category.OTHER), []),
        (LogFilter(sha256="aaaa"), [3, 1]),
        (LogFilter(sha256="B" * 64), [2]),
        (LogFilter(sha256="aaaab"), []),
        (LogFilter(sha256="aaaa", reason=Reason.ART, reviewer="ann"), [1]),
        (LogFilter(search="beach", since="2001-01-01", until="2001-01-02"), []),
        (LogFilter(search="beach", reviewer="bob"), [3]),
    ],
    ids=str,
)
def test_a_search_finds_what_it_names(
    log: CorrectionLog, wanted: LogFilter, expected: list[int]
) -> None:
    """Parts of names and notes, reasons, categories, starts of hashes; an export has the same."""
    found = log.search(wanted, limit=9)
    assert [row.decision_id for row in found.rows] == expected
    assert found.searched_to is None
    assert list(log.rows(wanted)) == found.rows


def test_a_search_leaves_out_what_is_hidden(store: Store, log: CorrectionLog) -> None:
    """A disagreement that waits for this reviewer is not found, by hash or by note."""
    for wanted in (LogFilter(sha256="bbbb"), LogFilter(reason=Reason.OTHER)):
        assert len(log.search(wanted, limit=9).rows) == 1
    for wanted in (
        LogFilter(sha256="bbbb", blind_to="bob"), LogFilter(reason=Reason.OTHER, blind_to="bob")
    ):  # fmt: skip
        assert log.search(wanted, limit=9).rows == []


def test_a_search_reads_a_bounded_number_of_rows(
    log: CorrectionLog, database: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says how far it read, and goes on from there; each row is found once."""
    monkeypatch.setattr(log_module, "SEARCHED_ROWS", 10)
    repeat(database, 25, decided_at="2001-03-01T12:00:00.000Z", note="another")
    statue = LogFilter(search="statue")
    first = log.search(statue, limit=9)
    assert (first.rows, first.searched_to) == ([], 19)
    second = log.search(statue, limit=9, before=first.searched_to)
    assert (second.rows, second.searched_to) == ([], 9)
    third = log.search(statue, limit=9, before=second.searched_to)
    assert ([row.decision_id for row in third.rows], third.searched_to) == ([1], None)
    several = log.search(LogFilter(search="another"), limit=4)
    assert [row.decision_id for row in several.rows] == [28, 27, 26, 25]
    assert several.searched_to == 25


@pytest.mark.parametrize("text", ["abc", "g" * 8, "a" * 65, "", "abc%"])
def test_what_is_not_the_start_of_a_hash_is_rejected(text: str) -> None:
    """The error says what a hash looks like."""
    with pytest.raises(FilterError, match="start of a hash"):
        LogFilter(sha256=text)
