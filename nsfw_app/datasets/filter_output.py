"""Writes filtered images: as rows, as a WebDataset, or as a directory of files.

- Everything is written under a temporary name next to the output, and renamed when it is complete.
- Nothing that exists is overwritten, and no source is changed.
- The images of an output have the bytes that were scanned: others are not written.
"""

import errno
import hashlib
import io
import json
import os
import re
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from nsfw_app.dataset_errors import ScanFilterError
from nsfw_app.datasets import shards
from nsfw_app.datasets.entries import Entry
from nsfw_app.datasets.filter_formats import FilterFormat
from nsfw_app.datasets.locations import is_url, name_of
from nsfw_app.datasets.partial_output import (
    partial_directory,
    partial_file,
    publish,
    write_errors,
)

ROW_GROUP = 2_000  # rows of a Parquet file that are in memory
SUFFIXES = {"jpeg": "jpg"}  # of formats whose suffix is not their name
MAX_NAME = 100  # characters of an image's own name that its file in a directory keeps
METADATA = "metadata.jsonl"  # of a directory, as Hugging Face's imagefolder reads it


class RowWriter(Protocol):
    """Writes rows."""

    def add(self, table: pa.Table) -> None:
        """Write rows."""


class ImageWriter(Protocol):
    """Writes images with their rows."""

    needs_bytes: bool

    def add(self, row: Mapping[str, Any], entry: Entry, data: bytes, /) -> None:
        """Write an image; `data` is empty where `needs_bytes` is false."""


@contextmanager
def row_output(path: Path, kind: FilterFormat, schema: pa.Schema) -> Iterator[RowWriter]:
    """A file of rows, which appears when the block ends without an error.

    Raises:
        ScanFilterError: It exists, or it cannot be written.
    """
    with _appearing(path) as partial, partial.open("wb") as file:
        if kind is FilterFormat.PARQUET:
            parquet = _ParquetRows(file, schema)
            try:
                yield parquet
            finally:
                parquet.close()
        else:
            yield _Lines(file, kind)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def image_output(path: Path, kind: FilterFormat, *, shard_images: int) -> Iterator[ImageWriter]:
    """A WebDataset or a directory, which appears when the block ends without an error.

    Args:
        path: A name with one number such as `%06d` is that of shards.
        kind: One that has images.
        shard_images: Most images in a shard.

    Raises:
        ScanFilterError: It exists, it cannot be written, or the name has several numbers.
    """
    if kind is FilterFormat.WEBDATASET:
        for each in shards.existing(path):
            raise _exists(each)
        with _appearing(path, is_directory=True, is_spread=True) as partial:
            is_sharded = shards.has_number(path.name)
            archives = _Shards(partial, path.name, shard_images if is_sharded else None)
            try:
                yield archives
            finally:
                archives.close()
        return
    with _appearing(path, is_directory=True) as partial:
        directory = _Directory(partial, kind)
        try:
            yield directory
        finally:
            directory.close()


class _Lines:
    """A list of URIs, or a JSON object on each line."""

    def __init__(self, file: IO[bytes], kind: FilterFormat) -> None:
        self._file, self._kind = file, kind

    def add(self, table: pa.Table) -> None:
        if self._kind is FilterFormat.JSONL:
            lines = map(json_row, table.to_pylist())
        else:
            lines = map(str, table["uri"].to_pylist())
        self._file.write("".join(f"{line}\n" for line in lines).encode())


class _ParquetRows:
    """A Parquet file, in row groups of a part or more."""

    def __init__(self, file: IO[bytes], schema: pa.Schema) -> None:
        self._writer = pq.ParquetWriter(file, schema, compression="zstd")
        self._waiting: list[pa.Table] = []

    def add(self, table: pa.Table) -> None:
        self._waiting.append(table.replace_schema_metadata(None))
        if sum(map(len, self._waiting)) >= ROW_GROUP:
            self._flush()

    def close(self) -> None:
        if self._waiting:
            self._flush()
        self._writer.close()

    def _flush(self) -> None:
        self._writer.write_table(pa.concat_tables(self._waiting))
        self._waiting.clear()


class _Shards:
    """The archives of a WebDataset: of each image its file and a JSON object, with one key."""

    needs_bytes = True

    def __init__(self, directory: Path, name: str, shard_images: int | None) -> None:
        self._directory, self._name, self._shard_images = directory, name, shard_images
        self._count = 0
        self._tar = self._opened(0)

    def add(self, row: Mapping[str, Any], _: Entry, data: bytes) -> None:
        shard = self._count // self._shard_images if self._shard_images else 0
        if shard and not self._count % (self._shard_images or 1):
            self._tar.close()
            self._tar = self._opened(shard)
        key = f"{self._count:09}"
        self._count += 1
        for suffix, content in ((_suffix(row), data), ("json", json_row(row).encode())):
            member = tarfile.TarInfo(f"{key}.{suffix}")
            member.size = len(content)
            self._tar.addfile(member, io.BytesIO(content))

    def close(self) -> None:
        self._tar.close()

    def _opened(self, shard: int) -> tarfile.TarFile:
        name = shards.name(self._name, shard) if self._shard_images else self._name
        return tarfile.open(self._directory / name, "x")


class _Directory:
    """A directory of files, each named after its URI.

    A scan may have several images of one URI, such as a name that is not UTF-8 and another that is
    its escaped form: the name of the second has the hash of its bytes.
    """

    def __init__(self, directory: Path, kind: FilterFormat) -> None:
        self.needs_bytes = kind is FilterFormat.COPY
        self._directory, self._kind = directory, kind
        self._metadata = (directory / METADATA).open("x", encoding="utf-8")

    def add(self, row: Mapping[str, Any], entry: Entry, data: bytes) -> None:
        name = file_name(entry)
        path = self._directory / name
        path.parent.mkdir(exist_ok=True)
        if os.path.lexists(path):
            name = file_name(entry, sha256=row["sha256"])
            path = self._directory / name
        if self._kind is FilterFormat.COPY:
            with path.open("xb") as file:
                file.write(data)
        else:
            self._link(entry, path)
        self._metadata.write(f"{json_row({'file_name': name, **row})}\n")

    def close(self) -> None:
        self._metadata.close()

    def _link(self, entry: Entry, path: Path) -> None:
        if entry.member or is_url(entry.file):
            raise ScanFilterError(
                f"{_shown(entry)} cannot be linked: it is not a file of its own. Use --format copy."
            )
        target = Path(entry.file).resolve()
        if self._kind is FilterFormat.SYMLINK:
            path.symlink_to(target)
            return
        try:
            path.hardlink_to(target)
        except OSError as error:
            cause = " Hard links need the same file system." if error.errno == errno.EXDEV else ""
            raise ScanFilterError(
                f"{_shown(entry)} cannot be linked: {error.strerror}.{cause} Use --format "
                "symlink or copy."
            ) from error


def file_name(entry: Entry, *, sha256: str = "") -> str:
    """Where the file of an image is in a directory: the same each time, and safe on any system.

    Args:
        entry: The image.
        sha256: Of its bytes, where another image has its URI.
    """
    digest = hashlib.sha256(entry.uri.encode(errors="surrogatepass")).hexdigest()
    own = entry.file_name
    own = re.sub(r"[^A-Za-z0-9._-]+", "_", own)[-MAX_NAME:]
    tail = f"-{sha256[:20]}" if sha256 else ""
    return f"{digest[:2]}/{digest[:20]}{tail}-{own}"


def _shown(entry: Entry) -> str:
    """What messages call an image."""
    archive = f" in {name_of(entry.file)}" if entry.byte_range else ""
    return f"{entry.file_name}{archive}"


def json_row(row: Mapping[str, Any]) -> str:
    """A row as JSON on one line, times in ISO 8601 in UTC."""
    return json.dumps(row, default=_json_value)


def _json_value(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _suffix(row: Mapping[str, Any]) -> str:
    name = (row["format"] or "bin").lower()
    return SUFFIXES.get(name, name)


def _exists(path: Path) -> ScanFilterError:
    return ScanFilterError(f"{path} exists and is not overwritten. Choose another --output.")


@contextmanager
def _appearing(
    path: Path, *, is_directory: bool = False, is_spread: bool = False
) -> Iterator[Path]:
    """A temporary name that becomes `path` when the block ends without an error.

    `is_spread` renames each file in a temporary directory into the directory of `path`.
    """
    if os.path.lexists(path):
        raise _exists(path)
    make = partial_directory if is_directory else partial_file
    with write_errors(path, ScanFilterError), make(path) as partial:
        yield partial
        for source in sorted(partial.iterdir()) if is_spread else [partial]:
            target = path.with_name(source.name) if is_spread else path
            if os.path.lexists(target):
                raise _exists(target)
            publish(source, target)
