"""CSV lines that spreadsheets open safely.

Text that a spreadsheet would run as a formula is escaped with a leading apostrophe.
"""

import csv
import json
from collections.abc import Iterable, Iterator

BYTE_ORDER_MARK = "\ufeff"
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\0")  # OWASP ASVS 1.2.10


def csv_line(values: Iterable[object]) -> str:
    """One CSV line with its line ending. Booleans are true or false; tuples and dicts are JSON."""
    line: str = csv.writer(_Lines()).writerow(_cell(value) for value in values)
    return line


def with_bom(lines: Iterable[str]) -> Iterator[str]:
    """CSV with a byte order mark, by which spreadsheets recognize UTF-8."""
    yield BYTE_ORDER_MARK
    yield from lines


class _Lines:
    """File for `csv.writer`, whose `writerow` then returns the line."""

    def write(self, line: str) -> str:
        return line


def _cell(value: object) -> object:
    if isinstance(value, str):
        return "'" + value if value.lstrip(" ").startswith(FORMULA_STARTS) else value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple | dict):
        return json.dumps(value)
    return value
