"""Exports: the correction log as CSV and JSON Lines, training labels as JSON Lines.

- Exports are generators: one row is in memory at a time.
- `probability`, the last column of the log, is computed by the calibration in force; a caller
  passes the function.
- The JSON object of an image is in `image_json`.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from enum import StrEnum

from nsfw_app.records import Decision
from nsfw_app.review.csv_lines import csv_line
from nsfw_app.store.training import Misclassification

STORED_COLUMNS = tuple(field.name for field in fields(Decision))
LOG_COLUMNS = (*STORED_COLUMNS, "probability")
Probability = Callable[[Decision], float | None]


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


def log_csv(
    decisions: Iterable[Decision], probability: Probability = uncalibrated
) -> Iterator[str]:
    """The correction log as CSV, one text per row, the header first."""
    yield csv_line(LOG_COLUMNS)
    for decision in decisions:
        values = [getattr(decision, column) for column in STORED_COLUMNS]
        yield csv_line([*values, probability(decision)])


def log_jsonl(
    decisions: Iterable[Decision], probability: Probability = uncalibrated
) -> Iterator[str]:
    """The correction log as JSON Lines, one text per row."""
    for decision in decisions:
        row = {name: getattr(decision, name) for name in STORED_COLUMNS}
        yield json.dumps({**row, "probability": probability(decision)}) + "\n"


def training_jsonl(misclassifications: Iterable[Misclassification]) -> Iterator[str]:
    """Confirmed training labels as JSON Lines: image, label, and the model's score."""
    for misclassification in misclassifications:
        if misclassification.confirmed:
            row = {
                "image_sha256": misclassification.image_sha256,
                "label": misclassification.confirmed,
                "model": misclassification.model,
                "nsfw_score": misclassification.nsfw_score,
                "answers": misclassification.answers,
            }
            yield json.dumps(row) + "\n"


LOG_FORMATS: Mapping[LogFormat, Callable[[Iterable[Decision], Probability], Iterator[str]]] = {
    LogFormat.CSV: log_csv,
    LogFormat.JSONL: log_jsonl,
}
