"""Entries of files, with their sizes and versions; many requests at once for remote files."""

import itertools
from collections.abc import Iterable, Iterator

from nsfw_app.concurrency import map_ordered
from nsfw_app.dataset_errors import SourceError
from nsfw_app.datasets import containers, files
from nsfw_app.datasets.entries import Entry
from nsfw_app.datasets.files import FileStatus
from nsfw_app.datasets.locations import is_url, redacted
from nsfw_app.errors import ImageError

REQUESTS = 16  # at once


def versioned(found: Iterable[FileStatus | Entry]) -> Iterator[Entry]:
    """An entry for each file, in the same order; entries stay as they are."""
    for remotely, run in itertools.groupby(found, _needs_request):
        if remotely:
            yield from map_ordered(_entry, run, concurrency=REQUESTS)
        else:
            yield from map(_entry, run)


def _needs_request(found: FileStatus | Entry) -> bool:
    if not isinstance(found, FileStatus) or containers.is_member(found.location):
        return False
    return not found.version and is_url(found.location)


def _entry(found: FileStatus | Entry) -> Entry:
    """A file as it is now; one that cannot be read is lost."""
    if isinstance(found, Entry):
        return found
    location, shown = found.location, redacted(found.location)
    if containers.is_member(location):  # has those of its container, see `named_members`
        return Entry(shown, location)
    status, is_lost = found, False
    if not found.version:
        try:
            status = files.status(location)
        except (ImageError, SourceError):  # such as that of an unknown scheme in a table
            is_lost = True
    return Entry(
        found.row or shown,
        location,
        "",
        status.size,
        status.version,
        is_found=found.is_found,
        named=shown if found.row else "",
        is_lost=is_lost,
    )
