"""Exports: the correction log as CSV and JSON Lines, training labels as JSON Lines.

- Exports are generators: some rows are in memory at a time.
- `probability` is computed by the calibration in force, `model_categories` from the labels of the
  models by the mapping in force; a caller passes both functions.
- The JSON object of an image is in `image_json`.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from enum import StrEnum
from itertools import islice

from nsfw_app.decision import Decision
from nsfw_app.records import Category, Label
from nsfw_app.review.csv_lines import csv_line
from nsfw_app.rules.decisions import categories_within
from nsfw_app.store.training import Misclassification

STORED_COLUMNS = tuple(field.name for field in fields(Decision))
ADDED_COLUMNS = ("probability", "categories", "model_categories")
LOG_COLUMNS = (*(name for name in STORED_COLUMNS if name not in ADDED_COLUMNS), *ADDED_COLUMNS)
Probability = Callable[[Decision], float | None]
# Of some decisions at a time, because they are read from the store.
ModelCategories = Callable[[Sequence[Decision]], Sequence[Mapping[Category, float] | None]]
ROWS_AT_ONCE = 500


class LogFormat(StrEnum):
    """Format of the correction log."""

    CSV = "csv"
    JSONL = "jsonl"

    @property
    def media_type(self) -> str:
        """The content type of a response."""
        return {
            LogFormat.CSV: "text/csv; charset=utf-8",
            LogFormat.JSONL: "application/x-ndjson",
        }[self]


def uncalibrated(_: Decision) -> None:
    """The probability of a row while no calibration is in force."""


def not_judged(decisions: Sequence[Decision]) -> list[None]:
    """The categories of rows while no model judges any."""
    return [None] * len(decisions)


def log_csv(
    decisions: Iterable[Decision],
    probability: Probability = uncalibrated,
    model_categories: ModelCategories = not_judged,
) -> Iterator[str]:
    """The correction log as CSV, one text per row, the header first."""
    yield csv_line(LOG_COLUMNS)
    for row in _rows(decisions, probability, model_categories):
        yield csv_line(row.values())


def log_jsonl(
    decisions: Iterable[Decision],
    probability: Probability = uncalibrated,
    model_categories: ModelCategories = not_judged,
) -> Iterator[str]:
    """The correction log as JSON Lines, one text per row."""
    for row in _rows(decisions, probability, model_categories):
        yield json.dumps(row) + "\n"


def _rows(
    decisions: Iterable[Decision], probability: Probability, model_categories: ModelCategories
) -> Iterator[dict[str, object]]:
    """The rows of the log by column, in order."""
    remaining = iter(decisions)
    while some := list(islice(remaining, ROWS_AT_ONCE)):
        for decision, judged in zip(some, model_categories(some), strict=True):
            row: dict[str, object] = {name: getattr(decision, name) for name in STORED_COLUMNS}
            row["probability"] = probability(decision)
            row["model_categories"] = judged
            yield {name: row[name] for name in LOG_COLUMNS}


def training_jsonl(misclassifications: Iterable[Misclassification]) -> Iterator[str]:
    """Confirmed training labels as JSON Lines: image, label, the model's score, categories."""
    for misclassification in misclassifications:
        if misclassification.confirmed:
            label = Label(misclassification.confirmed)
            row = {
                "image_sha256": misclassification.image_sha256,
                "label": label,
                "model": misclassification.model,
                "nsfw_score": misclassification.nsfw_score,
                "answers": misclassification.answers,
                "categories": categories_within(label, misclassification.categories),
            }
            yield json.dumps(row) + "\n"


LogWriter = Callable[[Iterable[Decision], Probability, ModelCategories], Iterator[str]]
LOG_FORMATS: Mapping[LogFormat, LogWriter] = {
    LogFormat.CSV: log_csv,
    LogFormat.JSONL: log_jsonl,
}
