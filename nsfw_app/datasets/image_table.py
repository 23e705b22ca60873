"""The table of scanned images: one row per image, in Parquet files.

- Its columns are those of the JSON of one image, the error in two columns, between facts of the
  source and of the scan.
- `probabilities` has a field for each label of the model, in the model's order; `categories` one
  for each category, empty where it was not judged. Those of the detail model are a JSON object.
- Columns are only ever added, at the end; files of earlier versions lack them.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from nsfw_app.datasets.entries import Entry
from nsfw_app.datasets.locations import is_redacted
from nsfw_app.imaging.image_warnings import extension_warning
from nsfw_app.records import Category, Review, WarningCode
from nsfw_app.review.image_json import DETAIL_COLUMNS, flattened, review_json

TIME = pa.timestamp("ms", tz="UTC")
WARNINGS = pa.list_(pa.struct([("code", pa.string()), ("message", pa.string())]))
CATEGORIES = pa.struct([(category, pa.float64()) for category in Category])
ERROR_COLUMNS = ["error_kind", "detail_error_kind"]
ADDED = {
    "categories": CATEGORIES,
    **dict.fromkeys(DETAIL_COLUMNS, pa.string()),
    "uri_redacted": pa.bool_(),  # see `is_redacted`
}


def schema(labels: Sequence[str]) -> pa.Schema:
    """The columns of the table for a model with these labels."""
    return pa.schema(
        [
            ("uri", pa.string()),
            ("version", pa.string()),  # of the file, see `Entry`
            ("size_bytes", pa.int64()),
            ("name", pa.string()),
            ("sha256", pa.string()),
            ("perceptual_hash", pa.string()),
            ("nsfw_score", pa.float64()),
            ("probabilities", pa.struct([(label, pa.float64()) for label in labels])),
            ("label", pa.string()),
            ("action", pa.string()),
            ("threshold", pa.float64()),
            ("review_from", pa.float64()),
            ("review_to", pa.float64()),
            ("model", pa.string()),
            ("revision", pa.string()),
            ("weights_sha256", pa.string()),
            ("backend", pa.string()),
            ("width", pa.int32()),
            ("height", pa.int32()),
            ("format", pa.string()),
            ("frame", pa.int32()),
            ("frames", pa.int32()),
            ("warnings", WARNINGS),
            ("error_kind", pa.string()),
            ("error_message", pa.string()),
            ("scanned_at", TIME),
            *ADDED.items(),
        ]
    )


def with_added_columns(table: pa.Table, wanted: Collection[str]) -> pa.Table:
    """A table that an earlier version wrote, with wanted columns that were added since, empty."""
    for name, kind in ADDED.items():
        if name in wanted and name not in table.schema.names:
            table = table.append_column(name, pa.nulls(len(table), kind))
    return table


def row(entry: Entry, review: Review, *, size_bytes: int | None) -> dict[str, Any]:
    """The row of a scanned image, or of one that could not be read or classified.

    Args:
        entry: The image.
        review: Its result, whose name is that of the entry.
        size_bytes: Of the bytes that were read; None where none were.
    """
    values = flattened(review_json(review))
    probabilities, message = values["detail_probabilities"], values["detail_error_message"]
    return values | {
        "uri": text(entry.uri),
        "name": text(review.name),
        "version": entry.version,
        "size_bytes": size_bytes,
        "perceptual_hash": review.preview.perceptual_hash if review.preview else None,
        "error_message": _text(values["error_message"]),
        "detail_probabilities": probabilities and json.dumps(probabilities),
        "detail_error_message": _text(message),
        "uri_redacted": is_redacted(entry.file),
        "scanned_at": datetime.now(UTC),
    }


def copied(known: Mapping[str, Any], entry: Entry) -> dict[str, Any]:
    """The row of an image whose bytes are those of another one, which has this row."""
    extension = extension_warning(entry.name, known["format"])
    others = [each for each in known["warnings"] if each["code"] != WarningCode.EXTENSION]
    return {
        **known,
        "uri": text(entry.uri),
        "uri_redacted": is_redacted(entry.file),
        "version": entry.version,
        "name": text(entry.name),
        "warnings": [asdict(extension), *others] if extension else others,
        "scanned_at": datetime.now(UTC),
    }


def error_of(row: Mapping[str, Any]) -> str | None:
    """The kind of a row's error; `detail_` before it where only the detail model failed."""
    if row["error_kind"] is not None:
        return str(row["error_kind"])
    kind = row["detail_error_kind"]
    return None if kind is None else f"detail_{kind}"


def text(value: str) -> str:
    """A text that a table can hold: of a file name that is not UTF-8, bytes become escapes."""
    return value.encode(errors="backslashreplace").decode()


def _text(value: str | None) -> str | None:
    return None if value is None else text(value)


def table(rows: Sequence[dict[str, Any]], labels: Sequence[str]) -> pa.Table:
    """Rows as a table."""
    return pa.Table.from_pylist(list(rows), schema(labels))
