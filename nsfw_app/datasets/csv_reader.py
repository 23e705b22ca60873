"""Rows of a CSV file with a header."""

import csv
from collections.abc import Iterable

MAX_FIELD = 2**20  # characters of a value, such as a caption or an image in Base64


def csv_reader(lines: Iterable[str]) -> "csv.DictReader[str]":
    """The rows of a CSV file; it raises `csv.Error` where the file is damaged.

    Strict: else it would read a quote that is not closed as one value up to the end of the file.
    The limit of a value is one of the process.

    Args:
        lines: Of the file.
    """
    csv.field_size_limit(max(csv.field_size_limit(), MAX_FIELD))
    return csv.DictReader(lines, strict=True)
