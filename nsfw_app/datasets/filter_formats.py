"""Formats of filtered images: files of rows, and files or directories with the images."""

from enum import StrEnum
from pathlib import Path

from nsfw_app.dataset_errors import ScanFilterError


class FilterFormat(StrEnum):
    """What `filter` writes."""

    LIST = "list"
    JSONL = "jsonl"
    PARQUET = "parquet"
    WEBDATASET = "webdataset"
    COPY = "copy"
    HARDLINK = "hardlink"
    SYMLINK = "symlink"

    @property
    def has_images(self) -> bool:
        """Whether it holds the images, not only their rows."""
        return self in {*DIRECTORIES, FilterFormat.WEBDATASET}


DIRECTORIES = frozenset({FilterFormat.COPY, FilterFormat.HARDLINK, FilterFormat.SYMLINK})
SUFFIXES = {
    ".txt": FilterFormat.LIST,
    ".jsonl": FilterFormat.JSONL,
    ".parquet": FilterFormat.PARQUET,
    ".tar": FilterFormat.WEBDATASET,
}


def format_of(output: Path) -> FilterFormat:
    """The format that the name of an output has.

    Raises:
        ScanFilterError: The name does not say.
    """
    found = SUFFIXES.get(output.suffix.lower())
    if found is None:
        raise ScanFilterError(
            f"The name {output.name} does not say a format: end it with {', '.join(SUFFIXES)}, or "
            f"use --format {', '.join(FilterFormat)}."
        )
    return found
