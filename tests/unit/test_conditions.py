"""Conditions on columns: what they select, and what is refused."""

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from nsfw_app.dataset_errors import ScanFilterError
from nsfw_app.datasets.conditions import Condition
from nsfw_app.datasets.image_table import schema

COLUMNS = schema(["normal", "nsfw"])
ROWS = [
    {"width": 100, "height": 50, "format": "PNG", "nsfw_score": 0.1},
    {"width": 300, "height": 200, "format": "JPEG", "nsfw_score": 0.5},
    {"width": 256, "height": 256, "format": "GIF", "nsfw_score": 0.9},
    {"width": None, "height": None, "format": None, "nsfw_score": None},
]
TABLE = pa.Table.from_pylist(
    [{**row, "probabilities": {"normal": None, "nsfw": row["nsfw_score"]}} for row in ROWS], COLUMNS
)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("width >= 256", [1, 2]),
        ("256 <= width", [1, 2]),
        ("width > height", [0, 1]),
        ("width == 256 or format == 'PNG'", [0, 2]),
        ("width >= 100 and not format == 'GIF'", [0, 1]),
        ("0.2 <= nsfw_score < 0.9", [1]),
        ("format in ('PNG', 'GIF')", [0, 2]),
        ("format not in ('PNG', 'GIF')", [1]),
        ("format in ('PNG')", [0]),
        ("format not in ('PNG')", [1, 2]),
        ("not format in ('PNG', 'GIF')", [1]),
        ("format is None", [3]),
        ("width is not None", [0, 1, 2]),
        ("probabilities.nsfw > 0.4", [1, 2]),
        ("nsfw_score > -0.5", [0, 1, 2]),
        (' format != "PNG" ', [1, 2]),
    ],
)
def test_rows_that_satisfy_a_condition(text: str, numbers: list[int]) -> None:
    """Comparisons, chains and their combinations; an empty column satisfies no comparison."""
    assert Condition(text, COLUMNS).numbers(TABLE) == numbers


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("scanned_at >= '2026-01-02'", [1, 2]),
        ("'2026-01-02T00:00:00.001Z' <= scanned_at", [2]),
        ("'2026-01-01' < scanned_at < '2026-01-03T01:00:00+02:00'", [1]),
        ("scanned_at == '2026-01-02 00:00:00'", [1]),
        ("scanned_at in ('2026-01-01T00:00Z', '2026-01-03')", [0, 2]),
        ("scanned_at not in ('2026-01-01')", [1, 2]),
    ],
)
def test_times_are_compared_with_texts(text: str, numbers: list[int]) -> None:
    """In ISO 8601, in UTC where the text names no zone."""
    times = [datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2, 3)]
    table = pa.Table.from_pylist([{"scanned_at": time} for time in [*times, None]], COLUMNS)
    assert Condition(text, COLUMNS).numbers(table) == numbers


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("wide >= 256", "there is no column 'wide'"),
        ("probabilities.gore > 0.5", "there is no column 'probabilities.gore'"),
        ("width.real > 1", "there is no column 'width.real'"),
        ("width >= 'large'", "different types"),
        ("format > 5", "different types"),
        ("scanned_at > 'yesterday'", "'yesterday' is not a time such as '2026-01-31T12:00:00Z'"),
        ("scanned_at > 5", "5 is not a time"),
        ("scanned_at > '0001-01-01T00:00+12:00'", "is not a time"),
        ("scanned_at in ('soon')", "is not a time"),
        ("format in ('PNG', 5)", "different types"),
        ("width in ()", "values in parentheses"),
        ("width", "compares nothing"),
        ("width >= 2 +", "cannot be read"),
        ("", "cannot be read"),
        ("width = 256", "cannot be read"),
        ("width >= 2 ** 9", "is not a column, number or text"),
        ("width >= True", "is not a column, number or text"),
        ("__import__('os').system('true') == 0", "is not a column, number or text"),
        ("open('/etc/passwd')", "compares nothing"),
        ("[x for x in (1,)] == width", "is not a column, number or text"),
        ("width is 5", "'is None'"),
        ("width >= 99999999999999999999", "is not a column, number or text"),
        ("not " * 200 + "width > 5", "nested more than|cannot be read"),
        ("(" * 1_000 + "width > 5" + ")" * 1_000, "cannot be read"),
        ("width > 5 or " * 400 + "width > 6", "4,000"),
        ("width > 5\0", "cannot be read"),
        ("a" + ".a" * 1_900 + " > 1", "cannot be read"),
        ("-" * 3_000 + "1 > width", "cannot be read"),
    ],
)
def test_what_is_no_condition(text: str, words: str) -> None:
    """A typed error before any row is read, and nothing is evaluated as a program."""
    with pytest.raises(ScanFilterError, match=words):
        Condition(text, COLUMNS)


def test_the_error_names_the_columns() -> None:
    """So that the message is all that is needed to correct it."""
    with pytest.raises(ScanFilterError, match=r"Columns: uri, version, .*scanned_at"):
        Condition("wide > 5", COLUMNS)
