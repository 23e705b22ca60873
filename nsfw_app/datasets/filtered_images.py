"""The filtered images of a scan, written as rows or as images."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from nsfw_app.concurrency import map_ordered
from nsfw_app.dataset_errors import ScanFilterError
from nsfw_app.datasets import files, shards
from nsfw_app.datasets.entries import Entry
from nsfw_app.datasets.filter_formats import FilterFormat
from nsfw_app.datasets.filter_output import image_output, row_output
from nsfw_app.datasets.filtering import SETTLED_LABEL, Drop, RowFilter, filtered_schema
from nsfw_app.datasets.image_table import schema
from nsfw_app.datasets.locations import is_url
from nsfw_app.datasets.named_members import is_ambiguous
from nsfw_app.datasets.output_search import OutputSearch
from nsfw_app.datasets.part_files import Row
from nsfw_app.datasets.reading import Reader
from nsfw_app.datasets.restricted_images import RestrictedImages
from nsfw_app.datasets.scanned_parts import ScannedParts
from nsfw_app.datasets.units import is_of_two_files
from nsfw_app.errors import ImageError
from nsfw_app.imaging import decode

READS = 4  # images that are read at once
LINE_BREAK = re.compile(r"[\r\n]")
Item = tuple[Entry, Row]
Restricted = Callable[[], Mapping[str, str | None]]  # see `Criteria.restricted`


def write_rows(
    parts: ScannedParts,
    rows: RowFilter,
    *,
    output: Path | None = None,
    kind: FilterFormat = FilterFormat.LIST,
    restricted: Restricted = dict,
) -> None:
    """Filter the rows of a scan, and write those that are kept.

    A list cannot have a name with a line break, an image in an archive whose path has `::`, one
    whose uri is that of two files, or a URL of which credentials are not stored; these are counted
    as dropped.

    Args:
        parts: Of the scan.
        rows: Filters and counts them.
        output: File to write; None only counts.
        kind: Its format, one without images.
        restricted: Reads the restricted images again before the output appears.

    Raises:
        ScanError: A part file cannot be read, the output cannot be written, or an image was
            restricted while it was written.
    """
    if output is None:
        for table in parts.tables():
            _written(rows.kept(table)[1], rows)
        return
    _check_outside(output, parts.directory)
    with row_output(output, kind, filtered_schema(schema(tuple(parts.record.roles)))) as writer:
        for table in parts.tables():
            writer.add(_written(rows.kept(table)[1], rows, is_list=kind is FilterFormat.LIST))
        _check_restrictions(parts, rows, restricted)


def _written(table: pa.Table, rows: RowFilter, *, is_list: bool = False) -> pa.Table:
    """The kept rows that an output can have, each of another image, or of other bytes."""
    names = ["uri", "name", "uri_redacted", "sha256", "nsfw_score", SETTLED_LABEL]
    kept = table.select(names).to_pylist()
    drops = [_not_listed(row) if is_list else None for row in kept]
    claims = iter(rows.claim([row for row, drop in zip(kept, drops, strict=True) if drop is None]))
    drops = [drop or next(claims) for drop in drops]
    for row, drop in zip(kept, drops, strict=True):
        if drop is not None:
            rows.drop_kept(drop, row)
    return table.filter(pa.array([drop is None for drop in drops], pa.bool_()))


def _not_listed(row: Row) -> Drop | None:
    """Why a list cannot name an image; None where it can."""
    if LINE_BREAK.search(row["uri"]):
        return Drop.LINE_BREAK
    if is_ambiguous(row["uri"], row["name"]) or is_of_two_files(row["uri"]):
        return Drop.AMBIGUOUS
    return Drop.CREDENTIALS if row["uri_redacted"] else None


def write_images(
    parts: ScannedParts,
    rows: RowFilter,
    *,
    output: Path,
    kind: FilterFormat,
    shard_images: int,
    restricted: Restricted = dict,
) -> None:
    """Filter the rows of a scan, and write the images that are kept.

    Images whose sources changed or cannot be read are counted as dropped.

    Args:
        parts: Of the scan.
        rows: Filters and counts them.
        output: Archive, name of shards, or directory to write.
        kind: Its format, one with images.
        shard_images: Most images in a shard.
        restricted: Reads the restricted images again before the output appears.

    Raises:
        ScanError: A part file cannot be read, the output cannot be written, or an image was
            restricted while it was written.
        SourceError: No source exists any more, or one cannot be listed.
    """
    _check_outside(output, parts.directory)
    _check_not_found(parts, output, kind)

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
            entry, row = item
            if rows.is_claimed(row):
                return item, b""
            return item, _content(entry, row, reader if writer.needs_bytes else None)

        with closing(map_ordered(read, items(), concurrency=READS)) as results:
            for (entry, row), data in results:
                drop = data if isinstance(data, Drop) else rows.claim([row])[0]
                if drop is not None:  # also where a copy was read at the same time
                    rows.drop_kept(drop, row)
                elif isinstance(data, bytes):
                    writer.add(row, entry, data)
        _check_restrictions(parts, rows, restricted)


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


def _check_restrictions(parts: ScannedParts, rows: RowFilter, restricted: Restricted) -> None:
    """Check that nothing is kept that was restricted since `rows` were made.

    Where an image was, the rows are filtered once more: they take minutes, images hours.

    Raises:
        ScanFilterError: It is, or a near duplicate of it.
    """
    criteria = rows.criteria
    while new := {k: v for k, v in restricted().items() if k not in criteria.restricted}:
        barred = RestrictedImages(new)
        with RowFilter(criteria) as again:
            if any(barred.among(again.kept(table)[1]) for table in parts.tables()):
                raise ScanFilterError(
                    "An image that is kept, or a near duplicate of one, was marked as showing a "
                    "minor while the output was written. Run the command again; nothing was "
                    "written."
                )
        criteria = replace(criteria, restricted={**criteria.restricted, **new})


def _check_outside(output: Path, directory: Path) -> None:
    """Check that an output is not in the directory of the scan.

    Raises:
        ScanFilterError: It is.
    """
    if output.resolve().is_relative_to(directory.resolve()):
        raise ScanFilterError(f"{output} lies in {directory}. Choose another --output.")


def _check_not_found(parts: ScannedParts, output: Path, kind: FilterFormat) -> None:
    """Check that the next scan of the sources does not find what is written.

    Raises:
        ScanFilterError: It does.
    """
    is_directory = kind is not FilterFormat.WEBDATASET
    names = [output.name] if is_directory else shards.first_names(output.name)
    search = OutputSearch(output, names=names, is_directory=is_directory, excluded=parts.directory)
    if source := search.finding(parts.sources):
        raise ScanFilterError(
            f"{output} lies where the next scan of {source} finds it. Choose another --output."
        )
