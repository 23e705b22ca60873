"""Conditions on the columns of scanned images, such as `width >= 256 and format == "PNG"`.

- The text is parsed and translated, never evaluated as a program.
- A row in which a compared column is empty does not satisfy a condition.
- A column of times is compared with a text in ISO 8601, in UTC where it names no zone.
"""

import ast
import functools
import operator
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from nsfw_app.dataset_errors import ScanFilterError
from nsfw_app.records import Category

MAX_CHARACTERS = 4_000
MAX_NUMBER = 2**63  # of 64-bit integers
MAX_DEPTH = 50  # of parentheses and `not`
COMPARISONS = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
EXAMPLE = "Write it as: width >= 256 and format != 'GIF'"


class Condition:
    """A condition on rows.

    Args:
        text: Columns, numbers, texts, comparisons, `in (...)`, `and`, `or`, `not`. A field of
            `probabilities` is written as `probabilities.nsfw`, a category by its name; `is None`
            finds empty columns.
        schema: The columns that there are.

    Raises:
        ScanFilterError: The text is not a condition on these columns.
    """

    def __init__(self, text: str, schema: pa.Schema) -> None:
        self._text, self._schema = text, schema
        has_categories = "categories" in schema.names
        self._categories = frozenset(Category) if has_categories else frozenset()
        if len(text) > MAX_CHARACTERS:
            raise ScanFilterError(
                f"The condition has {len(text):,} characters; the limit is {MAX_CHARACTERS:,}."
            )
        try:
            self._expression = self._truth(ast.parse(text.strip(), mode="eval").body, 0)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise self._error("it cannot be read") from None
        self.numbers(schema.empty_table())  # do the types of both sides fit?

    def numbers(self, table: pa.Table) -> list[int]:
        """The numbers of the rows that satisfy it, in order, from 0.

        Raises:
            ScanFilterError: Values cannot be compared.
        """
        numbered = table.append_column("", pa.array(range(len(table)), pa.int64()))
        try:
            found: list[int] = numbered.filter(self._expression)[""].to_pylist()
        except (pa.ArrowException, TypeError) as error:
            reason = str(error).splitlines()[0]
            raise self._error(f"values of different types are compared ({reason})") from error
        return found

    def _error(self, reason: str) -> ScanFilterError:
        names = ", ".join(self._schema.names)
        return ScanFilterError(
            f"'{self._text}' is not a condition: {reason}. {EXAMPLE}. Columns: {names}."
        )

    def _truth(self, node: ast.expr, depth: int) -> pc.Expression:
        """The expression of a condition."""
        if depth > MAX_DEPTH:
            raise self._error(f"it is nested more than {MAX_DEPTH} times")
        if isinstance(node, ast.BoolOp):
            parts = [self._truth(value, depth + 1) for value in node.values]
            join = operator.and_ if isinstance(node.op, ast.And) else operator.or_
            return functools.reduce(join, parts)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return ~self._truth(node.operand, depth + 1)
        if isinstance(node, ast.Compare):
            return self._comparison(node)
        raise self._error(f"'{ast.unparse(node)}' compares nothing")

    def _comparison(self, node: ast.Compare) -> pc.Expression:
        """The expression of a comparison, also of a chain such as `0.2 <= nsfw_score < 0.8`."""
        operands = [node.left, *node.comparators]
        pairs = zip(operands, node.ops, operands[1:], strict=False)
        parts = [self._compared(left, how, right) for left, how, right in pairs]
        return functools.reduce(operator.and_, parts)

    def _compared(self, left: ast.expr, how: ast.cmpop, right: ast.expr) -> pc.Expression:
        if isinstance(how, ast.Is | ast.IsNot):
            if not (isinstance(right, ast.Constant) and right.value is None):
                raise self._error("'is' is for 'is None'")
            found = self._column(left)
            return found.is_null() if isinstance(how, ast.Is) else found.is_valid()
        if isinstance(how, ast.In | ast.NotIn):
            # Parentheses around a single value make no tuple in Python.
            values = right.elts if isinstance(right, ast.Tuple | ast.List | ast.Set) else [right]
            if not values:
                raise self._error("after 'in' values in parentheses are expected")
            column = self._column(left)
            read = self._time if self._is_time(left) else self._constant
            try:
                found = column.isin([read(each) for each in values])
            except (pa.ArrowException, TypeError) as error:
                raise self._error("the values after 'in' are of different types") from error
            # Of an empty column `isin` is false, and its negation would be true.
            unknown = pc.scalar(pa.scalar(None, pa.bool_()))
            found = pc.if_else(column.is_valid(), found, unknown)
            return found if isinstance(how, ast.In) else ~found
        has_time = self._is_time(left) or self._is_time(right)
        operands = (self._operand(node, has_time=has_time) for node in (left, right))
        compared: pc.Expression = COMPARISONS[type(how)](*operands)
        return compared

    def _operand(self, node: ast.expr, *, has_time: bool) -> pc.Expression:
        if isinstance(node, ast.Name | ast.Attribute):
            return self._column(node)
        return pc.scalar(self._time(node) if has_time else self._constant(node))

    def _is_time(self, node: ast.expr) -> bool:
        return (
            isinstance(node, ast.Name)
            and node.id in self._schema.names
            and pa.types.is_timestamp(self._schema.field(node.id).type)
        )

    def _time(self, node: ast.expr) -> pa.Scalar:
        try:
            time = datetime.fromisoformat(str(self._constant(node)))
            time = time.replace(tzinfo=time.tzinfo or UTC).astimezone(UTC)
        except (ValueError, OverflowError):
            text = ast.unparse(node)
            raise self._error(f"{text} is not a time such as '2026-01-31T12:00:00Z'") from None
        return pa.scalar(time, pa.timestamp("us", tz="UTC"))

    def _column(self, node: ast.expr) -> pc.Expression:
        parent = node.value if isinstance(node, ast.Attribute) else None
        if isinstance(node, ast.Name) and node.id in self._schema.names:
            return pc.field(node.id)
        if isinstance(node, ast.Name) and node.id in self._categories:
            return pc.field("categories", node.id)
        if isinstance(node, ast.Attribute) and isinstance(parent, ast.Name):
            kind = (
                self._schema.field(parent.id).type if parent.id in self._schema.names else pa.null()
            )
            if pa.types.is_struct(kind) and kind.get_field_index(node.attr) >= 0:
                return pc.field(parent.id, node.attr)
        raise self._error(f"there is no column '{ast.unparse(node)}'")

    def _constant(self, node: ast.expr) -> Any:
        is_negative = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub)
        inner = node.operand if is_negative and isinstance(node, ast.UnaryOp) else node
        value = inner.value if isinstance(inner, ast.Constant) else None
        if isinstance(value, str) and not is_negative:
            return value
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if is_number and isinstance(value, int | float) and abs(value) < MAX_NUMBER:
            return -value if is_negative else value
        raise self._error(f"'{ast.unparse(node)}' is not a column, number or text")
