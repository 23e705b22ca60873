"""Labeled sets: images with a label each, from tables and from directories named by label.

- A label is a known word, such as normal, nsfw, porn or neutral; see `models.cards`.
- Every other column of a table is kept, so that measures can be taken by group.
"""

import csv
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nsfw_app.dataset_errors import LabelSetError
from nsfw_app.datasets.csv_reader import csv_reader
from nsfw_app.models.cards import role_of
from nsfw_app.records import LabelRole

PATH, LABEL, FOLDER = "path", "label", "folder"
TABLES = (".csv", ".jsonl", ".parquet")
BATCH_ROWS = 10_000  # of a Parquet file in memory at once


@dataclass(frozen=True, slots=True)
class LabeledImage:
    """An image file and its label; `columns` are texts by which images can be grouped."""

    path: Path
    unsafe: bool
    columns: Mapping[str, str] = field(default_factory=dict)


def is_table(path: Path) -> bool:
    """Whether a file is named as a table of labels."""
    return path.suffix.lower() in TABLES


def read_table(path: Path) -> list[LabeledImage]:
    """The images of a table with the columns `path` and `label`.

    Paths are relative to the directory of the table.

    Raises:
        LabelSetError: It cannot be read, a column is missing or of another type, or a label is not
            known.
    """
    images = []
    try:
        for where, row in read_rows(path):
            for column in (PATH, LABEL):
                if not row.get(column):
                    raise LabelSetError(f"{where}: the column '{column}' is missing or empty.")
            unsafe = parse_label(row[LABEL], where=where)
            images.append(LabeledImage(path.parent / row[PATH], unsafe, row))
    except OSError as error:
        raise LabelSetError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise LabelSetError(f"{path} cannot be read: it is not UTF-8 text.") from error
    return images


def read_rows(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """The rows of a table, each after the words that say where it is.

    Raises:
        LabelSetError: It is not CSV, a row is not an object, or a column is repeated or of another
            type.
        OSError, UnicodeDecodeError: The table cannot be read.
    """
    read = {".csv": _csv_rows, ".jsonl": _jsonl_rows, ".parquet": _parquet_rows}
    for place, row in read[path.suffix.lower()](path):
        yield f"{path}, {place}", row


def labeled_by_folder(path: Path, relative: Path, root: Path) -> LabeledImage | None:
    """An image in a directory that is named by its label; None where none is.

    Args:
        path: The file.
        relative: Its path below the directory that was named.
        root: That directory, whose own name counts where it has no directory with a label.
    """
    folders = relative.parts[:-1]
    for name in (*folders[:1], root.resolve().name):
        role = role_of(name)
        if role is not None:
            columns = {PATH: str(path), LABEL: name, FOLDER: str(relative.parent)}
            return LabeledImage(path, role is LabelRole.UNSAFE, columns)
    return None


def parse_label(text: str, *, where: str) -> bool:
    """Whether a label means unsafe.

    Raises:
        LabelSetError: It is not a known word.
    """
    role = role_of(text)
    if role is None:
        raise LabelSetError(f"{where}: the label '{text}' is not known. Use normal or nsfw.")
    return role is LabelRole.UNSAFE


def _csv_rows(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv_reader(file)
        read = 0
        try:
            names = reader.fieldnames or ()
            read = reader.line_num
            _check_names(names, where=f"{path}, line {read}")
            for row in reader:
                read = reader.line_num
                if any(row.get(None, ())):
                    raise LabelSetError(f"{path}, line {read}: it has more values than the header.")
                yield f"line {read}", {name: row[name] or "" for name in names}
        except csv.Error as error:
            raise LabelSetError(
                f"{path}, line {read + 1}: this is not CSV: {error}. Check its quotes."
            ) from error


def _jsonl_rows(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                place = f"line {number}"
                yield place, _parsed(line, where=f"{path}, {place}")


def _parquet_rows(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Rows of a Parquet file; columns of other types than text, number or time are left out."""
    import pyarrow  # when a file needs it: 0.2 s
    from pyarrow import parquet

    with path.open("rb") as source:
        try:
            file = parquet.ParquetFile(source, page_checksum_verification=True)
            schema = file.schema_arrow
            for column in (PATH, LABEL):
                if schema.names.count(column) != 1:
                    raise LabelSetError(f"{path}: the column '{column}' is missing or repeated.")
                if not _is_text(type_ := schema.field(column).type):
                    raise LabelSetError(
                        f"{path}: the column '{column}' has the type {type_}. Use text."
                    )
            names = [field.name for field in schema if _is_plain(field.type)]
            _check_names(names, where=str(path))
            rows = 0
            for batch in file.iter_batches(BATCH_ROWS, columns=names):
                columns = [_texts(column) for column in batch.columns]
                for values in zip(*columns, strict=True):
                    rows += 1
                    yield f"row {rows}", dict(zip(batch.schema.names, values, strict=True))
        except (pyarrow.ArrowException, OSError) as error:
            raise LabelSetError(
                f"{path} cannot be read: it is damaged, or not a Parquet file."
            ) from error


def _check_names(names: Iterable[str], *, where: str) -> None:
    """Refuse columns of the same name, of which one would be read; several may have none."""
    repeated = [name for name, count in Counter(names).items() if name.strip() and count > 1]
    if repeated:
        raise LabelSetError(
            f"{where}: the column '{repeated[0]}' is repeated. Rename or remove all but one."
        )


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    value = kind.value_type if types.is_dictionary(kind) else kind
    return bool(
        types.is_string(value) or types.is_large_string(value) or types.is_string_view(value)
    )


def _is_plain(kind: Any) -> bool:
    """Whether images can be grouped by values of a type: not by bytes, lists or structures."""
    from pyarrow import types

    value = kind.value_type if types.is_dictionary(kind) else kind
    return _is_text(kind) or (types.is_primitive(value) and not types.is_duration(value))


def _texts(column: Any) -> list[str]:
    """The values of a column as JSON Lines would have them, times in ISO 8601."""
    from pyarrow import types

    if types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if types.is_temporal(column.type):
        column = column.cast("string")  # Python has no nanoseconds and no year 10000
    return ["" if value is None else str(value) for value in column.to_pylist()]


def _parsed(line: str, *, where: str) -> dict[str, str]:
    try:
        row: Any = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict):
        raise LabelSetError(f"{where}: this is not a JSON object.")
    return {str(k): "" if v is None else str(v) for k, v in row.items()}
