"""Columns of images in Arrow tables, as Parquet and Arrow files have them.

- A column of images is a struct of `bytes` and `path` as in Hugging Face datasets, or binary. A
  column of text holds paths, relative to the file. `byte_columns` says which of them is read.
- An image without bytes is the file that its path names, with that file's size and version.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from nsfw_app.datasets import files
from nsfw_app.datasets.entries import Entry
from nsfw_app.datasets.files import FileStatus
from nsfw_app.datasets.locations import name_of, resolved
from nsfw_app.datasets.path_tables import named_file, no_column, path_column
from nsfw_app.errors import ImageError, ImageErrorKind
from nsfw_app.imaging import decode
from nsfw_app.imaging.decode import Limits
from nsfw_app.imaging.formats import begins_as_image

# Usual names of a column of bytes.
COLUMNS = frozenset("image img images bytes image_bytes content data jpg jpeg png webp".split())
WANTED = (
    "Images are bytes (binary) or a struct (bytes: binary, path: string); a column of paths, such "
    "as path, is text (string)"
)
TEXT = frozenset({pa.string(), pa.large_string(), pa.string_view()})
BINARY = frozenset({pa.binary(), pa.large_binary(), pa.binary_view()})
MAX_TYPE = 60  # characters of a type in a message
# What pyarrow raises on damaged files; ArrowInvalid is a ValueError.
DAMAGED = (pa.ArrowException, OSError, ValueError, KeyError, OverflowError)


@dataclass(frozen=True, slots=True)
class ImageCell:
    """An image in a row: its bytes, or only their number where they are over the limit."""

    data: bytes | None
    size: int
    path: str | None = None

    @classmethod
    def of(cls, scalar: Any, limits: Limits) -> "ImageCell":
        """The value of a cell of a column of images."""
        path = None
        if pa.types.is_struct(scalar.type):
            if not scalar.is_valid:
                return cls(None, 0)
            path = scalar["path"].as_py() if "path" in scalar else None
            scalar = scalar["bytes"]
        if pa.types.is_dictionary(scalar.type) and scalar.is_valid:
            scalar = scalar.value
        if not scalar.is_valid:
            return cls(None, 0, path)
        size = scalar.as_buffer().size
        return cls(None if size > limits.max_bytes else scalar.as_py(), size, path)

    def content(self, location: str, member: str, limits: Limits) -> bytes:
        """The bytes; of an image whose path could not be read for the list, those of the file.

        Raises:
            ImageError: There are none, or they are too large.
        """
        name = f"{name_of(location)}#{member}"
        if self.data is not None:
            return self.data
        if self.size:
            decode.check_size(self.size, name=name, limits=limits)
        if self.path:
            return files.read(resolved(self.path, table=location), limits)
        raise ImageError(ImageErrorKind.EMPTY, f"{name} is empty.")


def bytes_of(values: Mapping[str, ImageCell]) -> int:
    """About the memory that the images of a row take."""
    return sum(len(value.data or b"") + 100 for value in values.values())


def byte_columns(schema: Any) -> list[str]:
    """Columns of images as bytes: those of structs, else known binary ones, else the only one."""
    structs = [field.name for field in schema if _is_image(field.type)]
    binary = [field.name for field in schema if _is_binary(field.type)]
    known = [name for name in binary if name.lower() in COLUMNS]
    if structs or known:
        return structs or known
    return binary if len(binary) == 1 else []


def is_uncertain(schema: Any, columns: Sequence[str]) -> bool:
    """Whether columns of bytes may hold something else than images, such as embeddings.

    So may one whose name is not a usual one, in a table that has a column of paths.
    """
    is_known = len(columns) != 1 or columns[0].lower() in COLUMNS
    if is_known or _is_image(schema.field(columns[0]).type):
        return False
    return path_column(text_columns(schema)) is not None


def have_images(cells: Any) -> bool:
    """Whether any of these values begins as an image."""
    return any(begins_as_image(cell.as_py() or b"") for cell in cells)


def text_columns(schema: Any) -> list[str]:
    """Columns of text, one of which may hold paths."""
    return [field.name for field in schema if _value_type(field.type) in TEXT]


def no_image_column(container: Entry, schema: Any) -> ImageError:
    """The error about a table without a column of images, or with one of another type."""
    columns = [f"{field.name} ({str(field.type)[:MAX_TYPE]})" for field in schema]
    return no_column(container, columns, wanted=WANTED)


def row_entries(
    rows: Iterable[int],
    columns: Sequence[str],
    paths: Mapping[str, Mapping[int, str]],
    container: Entry,
    *,
    weight: int,
) -> Iterator[FileStatus | Entry]:
    """The images in rows; of those that are files of their own, the files.

    Args:
        rows: Their numbers in the table.
        columns: Those of images.
        paths: By column: of images without bytes the paths, by row from the first of `rows`.
        container: The table.
        weight: Of an image that the table holds.
    """
    for at, row in enumerate(rows):
        for column in columns:
            member = f"{row}.{column}" if len(columns) > 1 else str(row)
            uri = f"{container.uri}#{member}"
            if path := paths.get(column, {}).get(at):
                found = named_file(path, uri, container)
                yield replace(found, row=uri) if isinstance(found, FileStatus) else found
            else:
                yield Entry(uri, container.file, member, version=container.version, weight=weight)


def paths_of(cells: Any) -> dict[int, str]:
    """The paths of images without bytes, by their rows in an array.

    Args:
        cells: Of a column of images; of a struct without `bytes` no image has any.

    Raises:
        ArrowException: The array is damaged.
    """
    if not pa.types.is_struct(cells.type) or cells.type.get_field_index("path") < 0:
        return {}
    paths, rows = pc.struct_field(cells, "path"), range(len(cells))
    if cells.type.get_field_index("bytes") >= 0:
        rows = pc.indices_nonzero(pc.struct_field(cells, "bytes").is_null()).to_pylist()
    found = ((row, paths[row].as_py()) for row in rows)
    return {row: path for row, path in found if isinstance(path, str) and path.strip()}


def _is_image(kind: Any) -> bool:
    """Whether a type is a struct of an image: where all `bytes` are null, pandas gives no type."""
    if not pa.types.is_struct(kind):
        return False
    types = {field.name: field.type for field in kind}
    content = types.get("bytes")
    return content is not None and (
        _is_binary(content) or (pa.types.is_null(content) and "path" in types)
    )


def _is_binary(kind: Any) -> bool:
    return _value_type(kind) in BINARY


def _value_type(kind: Any) -> Any:
    """The type of the values of a column, also where each is stored once, in a dictionary."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind
