"""Pages of the Log tab: numbered rows, in both directions, while decisions are added."""

import sqlite3
from contextlib import closing
from pathlib import Path

from nsfw_app.records import LogFilter
from nsfw_app.review.engine import Engine
from nsfw_app.store import Store
from nsfw_app.ui.log import ROWS_PER_PAGE, LogPosition, Turn, log_page
from tests.support.sample_records import add, add_image, answer
from tests.unit.test_log import repeat

ALL = LogFilter()


def test_pages_turn_both_ways_and_keep_their_place(
    engine: Engine, store: Store, tmp_path: Path
) -> None:
    """Older and newer pages follow each other; a concurrent decision shifts the numbers."""
    add_image(store)
    add(store.log, answer("n"))
    with closing(sqlite3.connect(tmp_path / "review.db")) as database:
        repeat(database, 2 * ROWS_PER_PAGE, decided_at="2026-03-01T12:00:00.000Z")
        first, position = log_page(engine, ALL, LogPosition(), Turn.FIRST)
        assert (first["first"], first["total"], len(first["rows"])) == (1, 101, ROWS_PER_PAGE)
        second, position = log_page(engine, ALL, position, Turn.OLDER)
        assert (second["first"], second["rows"][0]["decision_id"]) == (51, 51)
        repeat(database, 1, decided_at="2026-03-02T12:00:00.000Z")
        third, position = log_page(engine, ALL, position, Turn.OLDER)
        assert (third["first"], third["total"], len(third["rows"])) == (102, 102, 1)
        back, position = log_page(engine, ALL, position, Turn.NEWER)
        assert (back["first"], back["rows"]) == (52, second["rows"])
        newest, position = log_page(engine, ALL, position, Turn.NEWER)
        assert newest["first"] == 2
        top, _ = log_page(engine, ALL, position, Turn.NEWER)
        assert (top["first"], top["rows"][0]["decision_id"]) == (1, 102)


def test_an_empty_log_has_one_empty_page(engine: Engine) -> None:
    """Turning a page of nothing shows nothing."""
    for turn in Turn:
        payload, position = log_page(engine, ALL, LogPosition(), turn)
        assert (payload["rows"], payload["first"], payload["total"]) == ([], 1, 0)
        assert position == LogPosition()
