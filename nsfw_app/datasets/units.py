"""Lists the images of sources: units that can be sent to other machines, and their parts.

- The order is the same each time. Files are listed when they are needed, one directory at a time:
  the names of that one directory are in memory.
- A group of files ends where its uris say, so that a file that is added or removed changes one
  part only.
"""

import hashlib
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from enum import Enum, auto
from pathlib import Path

from nsfw_app.dataset_errors import SourceError
from nsfw_app.datasets import containers, files, named_members, path_tables, patterns
from nsfw_app.datasets.containers import ContainerKind
from nsfw_app.datasets.entries import Entry, Part, Unit
from nsfw_app.datasets.file_search import FileSearch, exists, leads_to_directory, real_path
from nsfw_app.datasets.files import FileStatus
from nsfw_app.datasets.left_out import LeftOut, LeftOutFiles
from nsfw_app.datasets.locations import (
    absolute,
    check_readable,
    is_url,
    located,
    redacted,
    resolved,
    unescaped,
)
from nsfw_app.datasets.remote_search import RemoteSearch
from nsfw_app.datasets.versions import versioned
from nsfw_app.errors import ImageError, ImageErrorKind
from nsfw_app.records import ImageProblem

FILES_PER_CUT = 500  # mean number of files in a group
# A group that has grown to this size is cut ten times as often, so that it practically never
# reaches the maximum, where a file that is added would move all cuts up to the next.
LARGE_GROUP = 1_000
MAX_FILES = 2_000
ENTRIES_PER_PART = 1_000  # of a container
LIST = "@"  # before the name of a list


def find_units(
    specs: Sequence[str], *, left_out: LeftOutFiles, excluded: Path | None = None
) -> Iterator[Unit]:
    """The units of sources, listed while they are taken.

    Args:
        specs: Paths and URLs of files, directories and containers; patterns; `@list.txt`, a file
            with a path or URL on each line, taken literally and relative to its directory.
        left_out: Counts what is not listed.
        excluded: A directory that is not searched: the one of the results.

    Raises:
        SourceError: One of them does not exist, a pattern matches nothing, or its file system is
            not installed; while units are taken, if a directory cannot be listed.
    """
    locations = [_checked(spec) for spec in specs]
    return grouped(named_members.found(_found(locations, left_out, excluded)))


def check_outside(specs: Sequence[str], directory: Path) -> None:
    """Check that not all sources lie in the directory of the results, which is not searched.

    Some may, as a shell names them for a pattern: they are left out, and counted.

    Args:
        specs: See `find_units`; what a list names, and what a pattern matches, is left out, too.
        directory: Of the results; it may not exist yet.

    Raises:
        SourceError: All of them do.
    """
    real = real_path(directory)
    inside = [
        spec
        for spec in specs
        if (folder := _folder(spec)) is not None and real_path(folder).is_relative_to(real)
    ]
    if len(inside) == len(specs):
        raise SourceError(
            f"{redacted(inside[0])} lies in the output {directory}, which is not scanned. Choose "
            "another --output, or leave this source out."
        )


def _folder(spec: str) -> Path | None:
    """The directory that a source is or lies in; None of lists and URLs."""
    mark, location = parted(spec)
    location = absolute(named_members.container_of(location) or location)
    if mark or is_url(location):
        return None
    if patterns.is_pattern(location):
        location = patterns.base_of(location) or "/"
    path = Path(location)
    # A linked directory is where it leads to; a linked file is where its link is.
    return path if leads_to_directory(path) else path.parent


def parts_of(unit: Unit, *, left_out: LeftOutFiles | None = None) -> Iterator[Part]:
    """The parts of a unit, listed while they are taken.

    Args:
        unit: The unit.
        left_out: Counts the members of a container that are not listed.
    """
    if not unit.is_container:
        yield Part.of(unit.entries)
        return
    (container,) = unit.entries
    entries = _members(container, LeftOutFiles() if left_out is None else left_out)
    while piece := list(itertools.islice(entries, ENTRIES_PER_PART)):
        yield Part.of(piece, container.uri)


def grouped(found: Iterator[Entry]) -> Iterator[Unit]:
    """Groups of files, and containers each of their own, in the order in which they are found."""
    group: list[Entry] = []
    for entry in found:
        if containers.kind_of(entry.file) and not (entry.member or entry.problem):
            yield Unit([entry], is_container=True)
            continue
        group.append(entry)
        mean = FILES_PER_CUT if len(group) < LARGE_GROUP else FILES_PER_CUT // 10
        if len(group) == MAX_FILES or _hash(entry.uri) % mean == 0:
            yield Unit(group)
            group = []
    if group:
        yield Unit(group)


def existing(location: str) -> str:
    """The location itself, or with the bytes of a name that scans write with escapes."""
    file, actual = _file_and_actual(location)
    if actual == file or os.path.lexists(file) or not os.path.lexists(actual):
        return location
    return location.replace(file, actual)


def is_of_two_files(uri: str) -> bool:
    """Whether a uri shows the bytes of a file's name with escapes, and is the name of another."""
    file, actual = _file_and_actual(uri)
    return actual != file and os.path.lexists(file) and os.path.lexists(actual)


def parted(source: str) -> tuple[str, str]:
    """The @ of a list, empty where it is the name of a file or directory, and the rest."""
    mark = LIST if source.startswith(LIST) and not exists(source) else ""
    return mark, source.removeprefix(mark)


def recorded(source: str) -> str:
    """The source that a scan records by this name, with the bytes that it writes with escapes."""
    mark, location = parted(source)
    if patterns.is_pattern(location) and not is_url(location):
        base = patterns.base_of(location)
        return f"{existing(base)}{location.removeprefix(base)}"
    return f"{mark}{existing(location)}"


def _file_and_actual(location: str) -> tuple[str, str]:
    """The file of a location, or its container, and the same with bytes in place of escapes."""
    file = named_members.container_of(location) or location
    return file, file if is_url(file) else unescaped(file)


def _checked(spec: str) -> str:
    """The location of a source, with the @ of a list."""
    mark, location = parted(spec)
    if not location.strip():
        raise SourceError("A source is empty. Name a directory, file, pattern or URL.")
    try:
        check_readable(location)
    except ImageError as error:
        raise SourceError(str(error)) from error
    location = absolute(location)
    files.check_installed(location)
    if mark or not patterns.is_pattern(location):
        _check_exists(named_members.container_of(location) or location)
    else:
        _check_matches(location)
    return mark + location


def _check_matches(pattern: str) -> None:
    left_out = LeftOutFiles()
    if any(True for _ in _matches(pattern, left_out)):
        return
    unread = ", ".join(left_out.names[LeftOut.UNREADABLE])
    reason = f": {unread} cannot be read" if unread else ""
    raise SourceError(f"{redacted(pattern)} matches nothing{reason}.")


def _check_exists(location: str) -> None:
    if is_url(location) and location.endswith("/"):  # checked when it is listed
        return
    try:
        files.status(location)
    except ImageError as error:
        if error.kind == ImageErrorKind.MISSING and not is_url(location):
            raise SourceError(f"{redacted(location)} does not exist.") from error
        raise SourceError(located(location, error)) from error


def _found(
    locations: Iterable[str], left_out: LeftOutFiles, excluded: Path | None
) -> Iterator[Entry]:
    search = FileSearch(excluded, left_out, containers.is_in_directories)
    remote = RemoteSearch(left_out)
    destination = _Destination(excluded) if excluded else None
    # Runs of paths and runs of URLs: in each run of paths, linked directories come last.
    for kind, run in itertools.groupby(_expanded(locations, left_out), _run):
        if kind is _Run.ENTRIES:
            yield from (each for each in run if isinstance(each, Entry))
        elif kind is _Run.URLS:
            yield from versioned(status for url in run for status in remote.files(str(url)))
        else:
            found = search.files(Path(str(location)) for location in run)
            yield from versioned(
                FileStatus(str(file.path), is_found=file.is_found)
                for file in found
                if destination is None or not destination.holds(file.path, left_out)
            )


class _Destination:
    """The directory of the results, which a pattern may reach by several paths."""

    def __init__(self, directory: Path) -> None:
        self._real = real_path(directory)
        self._parent: Path | None = None  # of the last file: neighbors are resolved once
        self._is_inside = False

    def holds(self, path: Path, left_out: LeftOutFiles) -> bool:
        """Whether a file is one of the results; counts it."""
        if path.parent != self._parent:
            self._parent = path.parent
            self._is_inside = real_path(path.parent).is_relative_to(self._real)
        if self._is_inside:
            left_out.add(LeftOut.DESTINATION, str(path))
        return self._is_inside


class _Run(Enum):
    """What is searched together."""

    PATHS = auto()
    URLS = auto()
    ENTRIES = auto()  # of lines that name nothing


def _run(found: str | Entry) -> _Run:
    if isinstance(found, Entry):
        return _Run.ENTRIES
    return _Run.URLS if is_url(found) else _Run.PATHS


def _expanded(locations: Iterable[str], left_out: LeftOutFiles) -> Iterator[str | Entry]:
    """Locations without lists and patterns."""
    for location in locations:
        if location.startswith(LIST):
            yield from _lines(location.removeprefix(LIST))
        elif patterns.is_pattern(location):
            yield from _matches(location, left_out)
        else:
            yield location


def _matches(pattern: str, left_out: LeftOutFiles) -> Iterator[str]:
    """What a pattern with braces or wildcards means."""
    for each in patterns.without_braces(pattern):
        yield from patterns.matches(each, left_out)


def _lines(location: str) -> Iterator[str | Entry]:
    """The paths and URLs on the lines of a list; a line that names none is an entry with a problem.

    Raises:
        SourceError: It cannot be read.
    """
    try:
        for row, line in enumerate(files.lines(location)):
            if line:
                yield _source(line, row, location)
    except ImageError as error:
        raise SourceError(located(location, error)) from error


def _source(line: str, row: int, location: str) -> str | Entry:
    try:
        return existing(resolved(line, table=location))
    except ImageError as error:
        problem = ImageProblem(error.kind, str(error))
        return Entry(f"{redacted(location)}#{row}", location, problem=problem)


def _hash(uri: str) -> int:
    digest = hashlib.blake2b(uri.encode(errors="surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "big")


def _members(container: Entry, left_out: LeftOutFiles) -> Iterator[Entry]:
    """The images of a container; then itself, with the problem, where it is damaged."""
    try:
        kind = containers.kind_of(container.file)
        entries = (
            path_tables.entries if kind is ContainerKind.PATHS else named_members.listing(kind)
        )
        yield from named_members.found(entries(container, left_out))
    except ImageError as error:
        yield replace(container, problem=ImageProblem(error.kind, str(error)))
    except SourceError as error:  # a list may name URLs of unknown schemes
        problem = ImageProblem(ImageErrorKind.UNREADABLE, str(error))
        yield replace(container, problem=problem)
