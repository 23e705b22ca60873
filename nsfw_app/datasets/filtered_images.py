"""The filtered images of a scan, written as rows or as images."""

from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from nsfw_app.concurrency import map_ordered
from nsfw_app.dataset_errors import ScanFilterError
from nsfw_app.datasets import files, patterns
from nsfw_app.datasets.entries import Entry
from nsfw_app.datasets.file_search import leads_to_directory
from nsfw_app.datasets.filter_formats import FilterFormat
from nsfw_app.datasets.filter_output import image_output, row_output
from nsfw_app.datasets.filtering import Drop, RowFilter, filtered_schema
from nsfw_app.datasets.image_table import schema
from nsfw_app.datasets.locations import is_url
from nsfw_app.datasets.part_files import Row
from nsfw_app.datasets.reading import Reader
from nsfw_app.datasets.scanned_parts import ScannedParts
from nsfw_app.errors import ImageError
from nsfw_app.imaging import decode

READS = 4  # images that are read at once
Item = tuple[Entry, Row]


def write_rows(
    parts: ScannedParts,
    rows: RowFilter,
    *,
    output: Path | None = None,
    kind: FilterFormat = FilterFormat.LIST,
) -> None:
    """Filter the rows of a scan, and write those that are kept.

    A name with a line break cannot be in a list; it is counted as dropped.

    Args:
        parts: Of the scan.
        rows: Filters and counts them.
        output: File to write; None only counts.
        kind: Its format, one without images.

    Raises:
        ScanError: A part file cannot be read, or the output cannot be written.
    """
    if output is None:
        for table in parts.tables():
            rows.kept(table)
        return
    _check_outside(output, parts.directory)
    with row_output(output, kind, filtered_schema(schema(tuple(parts.record.roles)))) as writer:
        for table in parts.tables():
            kept = rows.kept(table)[1]
            if kind is FilterFormat.LIST:
                kept = _listable(kept, rows)
            writer.add(kept)


def _listable(table: pa.Table, rows: RowFilter) -> pa.Table:
    """The rows whose names are one line; the others are counted as dropped."""
    has_break = pc.match_substring_regex(table["uri"], "[\\r\\n]")
    for row in table.filter(has_break).to_pylist():
        rows.counts.drop_kept(Drop.LINE_BREAK, row)
    return table.filter(pc.invert(has_break))


def write_images(
    parts: ScannedParts,
    rows: RowFilter,
    *,
    output: Path,
    kind: FilterFormat,
    shard_images: int,
) -> None:
    """Filter the rows of a scan, and write the images that are kept.

    Images whose sources changed or cannot be read are counted as dropped, and so are rows of an
    image that a directory has already.

    Args:
        parts: Of the scan.
        rows: Filters and counts them.
        output: Archive, name of shards, or directory to write.
        kind: Its format, one with images.
        shard_images: Most images in a shard.

    Raises:
        ScanError: A part file cannot be read, or the output cannot be written.
        SourceError: A source does not exist any more.
    """
    _check_outside(output, parts.directory)
    _check_not_found(output, parts.sources)

    def items() -> Iterator[Item]:
        for entries, table in parts.with_entries():
            numbers, kept = rows.kept(table)
            for number, row in zip(numbers, kept.to_pylist(), strict=True):
                yield entries[number], row

    with (
        Reader(parts.record.limits) as reader,
        image_output(output, kind, shard_images=shard_images) as writer,
    ):

        def read(item: Item) -> tuple[Item, bytes | Drop]:
            return item, _content(*item, reader if writer.needs_bytes else None)

        with closing(map_ordered(read, items(), concurrency=READS)) as results:
            for (entry, row), data in results:
                if isinstance(data, Drop):
                    rows.counts.drop_kept(data, row)
                elif not writer.add(row, entry, data):
                    rows.counts.drop_kept(Drop.REPEATED, row)


def _content(entry: Entry, row: Row, reader: Reader | None) -> bytes | Drop:
    """The bytes of an image, empty without a reader; why there are none of those scanned."""
    try:
        data = b"" if reader is None else reader.read(entry)
        if reader is not None:
            is_same = decode.sha256(data) == row["sha256"]
        else:  # a link; of a URL there is none, which the output reports
            is_same = is_url(entry.file) or files.status(entry.file).version == row["version"]
    except ImageError:
        return Drop.UNREADABLE
    return data if is_same else Drop.CHANGED


def _check_outside(output: Path, directory: Path) -> None:
    """Check that an output is not in the directory of the scan or of a source.

    Raises:
        ScanFilterError: It is.
    """
    if output.resolve().is_relative_to(directory.resolve()):
        raise ScanFilterError(f"{output} lies in {directory}. Choose another --output.")


def _check_not_found(output: Path, sources: Iterable[str]) -> None:
    """Check that the next scan of the sources does not find what is written.

    Raises:
        ScanFilterError: It does.
    """
    for source in sources:
        if patterns.is_pattern(source):
            if patterns.may_find(source, str(output.resolve())):
                raise ScanFilterError(f"{source} finds {output}. Choose another --output.")
        elif leads_to_directory(Path(source)):
            _check_outside(output, Path(source))
