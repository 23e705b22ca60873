"""Exports: the correction log as CSV and JSON Lines, training labels as JSON Lines.

- Exports are generators: one row is in memory at a time.
- `probability` is computed by the calibration in force, `model_categories` from the labels of the
  models by the mapping in force; a caller passes both functions.
- The JSON object of an image is in `image_json`.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from enum import StrEnum

from nsfw_app.decision import Decision
from nsfw_app.records import Category, Label
from nsfw_app.review.csv_lines import csv_line
from nsfw_app.rules.decisions import categories_within
from nsfw_app.store.training import Misclassification

STORED_COLUMNS = tuple(field.name for field in fields(Decision))
ADDED_COLUMNS = ("probability", "categories", "model_categories")
LOG_COLUMNS = (*(name for name in STORED_COLUMNS if name not in ADDED_COLUMNS), *ADDED_COLUMNS)
Probability = Callable[[Decision], float | None]
ModelCategories = Callable[[Decision], dict[Category, float] | None]


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


def not_judged(_: Decision) -> None:
    """The categories of a row while no model judges any."""


def log_csv(
    decisions: Iterable[Decision],
    probability: Probability = uncalibrated,
    model_categories: ModelCategories = not_judged,
) -> Iterator[str]:
    """The correction log as CSV, one text per row, the header first."""
    yield csv_line(LOG_COLUMNS)
    for decision in decisions:
        yield csv_line(_row(decision, probability, model_categories).values())


def log_jsonl(
    decisions: Iterable[Decision],
    probability: Probability = uncalibrated,
    model_categories: ModelCategories = not_judged,
) -> Iterator[str]:
    """The correction log as JSON Lines, one text per row."""
    for decision in decisions:
        yield json.dumps(_row(decision, probability, model_categories)) + "\n"


def _row(
    decision: Decision, probability: Probability, model_categories: ModelCategories
) -> dict[str, object]:
    """A row of the log by column, in order."""
    values: dict[str, object] = {name: getattr(decision, name) for name in STORED_COLUMNS}
    values["probability"] = probability(decision)
    values["model_categories"] = model_categories(decision)
    return {name: values[name] for name in LOG_COLUMNS}


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
