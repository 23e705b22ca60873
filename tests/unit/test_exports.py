"""Exports: the correction log as CSV and JSON Lines."""

import csv
import io
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, replace

import pytest

from nsfw_app.decision import Decision
from nsfw_app.records import (
    Category,
    Label,
    LogFilter,
    Reason,
)
from nsfw_app.review import exports
from nsfw_app.review.exports import LOG_COLUMNS, LOG_FORMATS, log_csv, log_jsonl
from nsfw_app.store import Store
from tests.support.sample_records import HOSTILE, SHA256, add, add_image, answer

COLUMNS = """decision_id decided_at reviewer image_sha256 name source model revision backend
    nsfw_score threshold model_label reviewer_label agrees reasons note batch_id undone
    seen elapsed_ms queue_reason draw_probability policy_version settled_label
    warnings seen_ms probability categories model_categories""".split()
DECISION = Decision(
    7, "2001-03-01T12:00:00.000Z", "ann", SHA256, "a.png", "gallery", "fake", "r1", "test",
    0.1 + 0.2, 0.53, "normal", "nsfw", False, ("art", "medical"), "", "batch 1", True,
    True, 900, "audit", 0.1 + 0.2, 4, "nsfw", ("extension", "truncated"), 700,
    ("nudity", "other"),
)  # fmt: skip
JUDGED = {Category.NUDITY: 0.1 + 0.2, Category.GORE_OR_VIOLENCE: 0.0}
TEXT_COLUMNS = ["reviewer", "name", "source", "model", "revision", "backend", "note", "batch_id"]


def read_csv(text: str) -> list[dict[str, str]]:
    """The rows that a CSV reader returns."""
    return list(csv.DictReader(io.StringIO(text, newline="")))


def probability(decision: Decision) -> float:
    """A calibration that halves the score."""
    return decision.nsfw_score / 2


def judged(decisions: Sequence[Decision]) -> list[dict[Category, float]]:
    """The categories that the models judge."""
    return [JUDGED for _ in decisions]


def csv_row(decision: Decision) -> dict[str, str]:
    """One decision, written as CSV and read again."""
    (row,) = read_csv("".join(log_csv([decision], probability, judged)))
    return row


def test_the_log_has_the_documented_columns() -> None:
    """Both formats have the log's columns, in their order."""
    assert list(LOG_COLUMNS) == COLUMNS
    assert list(csv_row(DECISION)) == COLUMNS
    assert list(json.loads(next(log_jsonl([DECISION])))) == COLUMNS


def test_csv_loses_no_values() -> None:
    """Numbers keep all their digits, booleans are words, lists and objects are JSON."""
    row = csv_row(DECISION)
    assert (row["agrees"], row["undone"], row["seen"]) == ("false", "true", "true")
    assert json.loads(row["reasons"]) == ["art", "medical"]
    assert json.loads(row["warnings"]) == ["extension", "truncated"]
    assert json.loads(csv_row(replace(DECISION, reasons=()))["reasons"]) == []
    assert json.loads(row["categories"]) == ["nudity", "other"]
    assert csv_row(replace(DECISION, categories=()))["categories"] == "[]"
    assert json.loads(row["model_categories"]) == JUDGED
    assert (int(row["decision_id"]), float(row["nsfw_score"])) == (7, 0.1 + 0.2)
    changed = {"agrees", "undone", "seen", "reasons", "warnings", "categories", "model_categories"}
    values = asdict(DECISION) | {"probability": (0.1 + 0.2) / 2}
    expected = {k: str(v) for k, v in values.items() if k not in changed}
    assert {k: v for k, v in row.items() if k not in changed} == expected


def test_unknown_values_are_empty_in_csv_and_null_in_jsonl() -> None:
    """Unsure neither agrees nor disagrees; what was not recorded is not false."""
    names = """agrees seen elapsed_ms queue_reason draw_probability policy_version settled_label
        seen_ms categories""".split()
    unknown = replace(DECISION, reviewer_label="unsure", **dict.fromkeys(names))
    row = csv_row(unknown)
    assert {row[name] for name in names} == {""}
    read = json.loads(next(log_jsonl([unknown])))
    assert {name: read[name] for name in names} == dict.fromkeys(names)


def test_without_a_calibration_there_is_no_probability() -> None:
    """The column stays, empty in CSV and null in JSON Lines, as that of unjudged categories."""
    (row,) = read_csv("".join(log_csv([DECISION])))
    assert row["probability"] == ""
    read = json.loads(next(log_jsonl([DECISION])))
    assert (read["probability"], read["model_categories"]) == (None, None)
    assert row["model_categories"] == ""


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("column", ["name", "note"])
def test_csv_keeps_harmless_texts(column: str, text: str) -> None:
    """Quotes, commas, line ends and any letter come back from CSV unchanged, in one row."""
    assert csv_row(replace(DECISION, **{column: text}))[column] == text


@pytest.mark.parametrize("column", TEXT_COLUMNS)
@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "\0", "  ="])
def test_csv_escapes_formulas(column: str, start: str) -> None:
    """Text that a spreadsheet would run gets a leading apostrophe."""
    text = f'{start}cmd|"/c calc"!A1'
    assert csv_row(replace(DECISION, **{column: text}))[column] == "'" + text


def test_jsonl_keeps_texts_and_types() -> None:
    """JSON Lines have booleans, lists, numbers and texts as they are, one line per decision."""
    formula = replace(DECISION, note="=1+1", name="two\nlines \u2028 \U0001f642", agrees=True)
    lines = list(log_jsonl([DECISION, formula], probability, judged))
    assert [line.count("\n") for line in lines] == [1, 1]
    assert [len(line.splitlines()) for line in lines] == [1, 1]
    read = json.loads(lines[1])
    lists = {"reasons": ["art", "medical"], "warnings": ["extension", "truncated"]}
    lists["categories"] = ["nudity", "other"]
    computed = {"probability": (0.1 + 0.2) / 2, "model_categories": JUDGED}
    assert read == asdict(formula) | lists | computed
    assert (read["agrees"], read["undone"]) == (True, True)


@pytest.mark.parametrize("write", LOG_FORMATS.values(), ids=LOG_FORMATS)
def test_formats_agree_about_a_stored_log(
    store: Store, write: Callable[[Iterable[Decision]], Iterator[str]]
) -> None:
    """Each format exports the rows of the store, the newest first."""
    add_image(store)
    add(store.log, answer("1", reasons=(Reason.ART,), note="no"))
    add(store.log, answer("2", Label.NSFW), reviewer="bob")
    text = "".join(write(store.log.rows(LogFilter())))
    rows = read_csv(text) if write is log_csv else list(map(json.loads, text.splitlines()))
    assert [(str(row["decision_id"]), row["reviewer"]) for row in rows] == [
        ("2", "bob"),
        ("1", "ann"),
    ]


@pytest.mark.parametrize("write", LOG_FORMATS.values(), ids=LOG_FORMATS)
def test_exports_are_lazy(
    write: Callable[[Iterable[Decision]], Iterator[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows are read when they are needed, a few of them at a time."""
    monkeypatch.setattr(exports, "ROWS_AT_ONCE", 3)

    def decisions() -> Iterator[Decision]:
        yield from [DECISION] * 3
        pytest.fail("The log was read ahead.")

    assert len(list(itertools.islice(write(decisions()), 3))) == 3


def test_empty_csv_has_a_header() -> None:
    """A log without rows is a header in CSV and empty in JSON Lines."""
    assert "".join(log_csv([])) == ",".join(COLUMNS) + "\r\n"
    assert list(log_jsonl([])) == []
