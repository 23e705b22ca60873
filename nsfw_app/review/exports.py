"""Export formats: the JSON object of an image, the correction log as CSV and JSON Lines.

- Exports are generators: one row is in memory at a time.
- In CSV, text that a spreadsheet would run as a formula is escaped with a leading apostrophe; JSON
  Lines has texts as they are.
"""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, fields
from typing import Any

from nsfw_app.records import Decision, ImageProblem, Policy, Review, Verdict
from nsfw_app.store.training import Misclassification

LOG_COLUMNS = tuple(field.name for field in fields(Decision))
BYTE_ORDER_MARK = "\ufeff"
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\0")  # OWASP ASVS 1.2.10


def review_json(review: Review) -> dict[str, Any]:
    """The JSON object of one image: the same in the page's API, the REST API and the commands.

    `frame` is the 0-based frame that the score is of; `frames` counts those in the file.
    """
    image, prediction = review.image, review.prediction
    identity = prediction.identity if prediction else None
    return {
        "name": review.name,
        "sha256": review.sha256,
        "nsfw_score": prediction.nsfw_score if prediction else None,
        "probabilities": dict(prediction.probabilities) if prediction else None,
        "label": review.verdict.label,
        "action": review.verdict.action,
        "threshold": review.policy.threshold,
        "review_from": review.policy.review_from,
        "review_to": review.policy.review_to,
        "model": identity.model if identity else None,
        "revision": identity.revision if identity else None,
        "weights_sha256": identity.weights_sha256 if identity else None,
        "backend": identity.backend if identity else None,
        "width": image.width if image else None,
        "height": image.height if image else None,
        "format": image.format if image else None,
        "frame": prediction.frame if prediction else None,
        "frames": image.frames if image else None,
        "warnings": [asdict(warning) for warning in review.warnings],
        "error": asdict(review.problem) if review.problem else None,
    }


# The keys of `review_json`, with the error in two columns.
REVIEW_COLUMNS = (
    *(key for key in review_json(Review("", Policy(0.5, 0.5, 0.5), Verdict())) if key != "error"),
    *(f"error_{field.name}" for field in fields(ImageProblem)),
)


def review_csv_heading() -> str:
    """The CSV header of images."""
    return _csv_line(REVIEW_COLUMNS)


def review_csv(review: Review) -> str:
    """The CSV row of one image: `review_json`, flattened.

    `probabilities` is a JSON object, so that the columns are the same for every model; `warnings`
    is a JSON list of their codes.
    """
    row = review_json(review)
    error = row.pop("error") or {}
    row |= {f"error_{key}": value for key, value in error.items()}
    row["warnings"] = json.dumps([warning.code for warning in review.warnings])
    row["probabilities"] = json.dumps(row["probabilities"]) if row["probabilities"] else None
    return _csv_line(_cell(row.get(column)) for column in REVIEW_COLUMNS)


def with_bom(lines: Iterable[str]) -> Iterator[str]:
    """CSV with a byte order mark, by which spreadsheets recognize UTF-8."""
    yield BYTE_ORDER_MARK
    yield from lines


def log_csv(decisions: Iterable[Decision]) -> Iterator[str]:
    """The correction log as CSV, one text per row, the header first."""
    writer = csv.writer(_Lines())
    yield writer.writerow(LOG_COLUMNS)
    for decision in decisions:
        row = [getattr(decision, column) for column in LOG_COLUMNS]
        yield writer.writerow([_cell(value) for value in row])


def log_jsonl(decisions: Iterable[Decision]) -> Iterator[str]:
    """The correction log as JSON Lines, one text per row."""
    for decision in decisions:
        yield json.dumps({name: getattr(decision, name) for name in LOG_COLUMNS}) + "\n"


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


LOG_FORMATS: Mapping[str, Callable[[Iterable[Decision]], Iterator[str]]] = {
    "csv": log_csv,
    "jsonl": log_jsonl,
}


class _Lines:
    """File for `csv.writer`, whose `writerow` then returns the line."""

    def write(self, line: str) -> str:
        return line


def _cell(value: object) -> object:
    if isinstance(value, str):
        return "'" + value if value.lstrip(" ").startswith(FORMULA_STARTS) else value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return json.dumps(value)
    return value


def _csv_line(cells: Iterable[object]) -> str:
    line: str = csv.writer(_Lines()).writerow(cells)
    return line
