"""Patterns that name many sources: braces as in bash and WebDataset, and wildcards.

shard-{000000..000099}.tar    a file for each number; {0..8..2} counts in steps
{train,test}/*.jpg            alternatives; files that match
images/**/*.png               at any depth
"""

import fnmatch
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from bracex import ExpansionLimitException, iexpand

from nsfw_app.dataset_errors import SourceError
from nsfw_app.datasets import files
from nsfw_app.datasets.containers import kind_of
from nsfw_app.datasets.file_search import exists, is_image_name, leads_to_directory
from nsfw_app.datasets.left_out import LeftOut, LeftOutFiles
from nsfw_app.datasets.locations import WEB, is_url, name_of, redacted, scheme
from nsfw_app.errors import ImageError

MAX_NAMES = 1_000_000  # that the braces of a pattern may mean; they are in memory
WILDCARDS = re.compile(r"[*?\[]")
ANY_DEPTH = "**"


def is_pattern(location: str) -> bool:
    """Whether a location has braces or wildcards, and no file has it as its name."""
    if is_url(location):
        # Of a URL on the web, ? begins the query.
        wild = "*" in location if scheme(location) in WEB else bool(WILDCARDS.search(location))
        return wild or _has_braces(location)
    wild = bool(WILDCARDS.search(location))
    return (wild or _has_braces(location)) and not exists(location)


def without_braces(location: str) -> Iterator[str]:
    """Every location that a pattern with braces means, in its order, as bash expands it.

    Raises:
        SourceError: They are more than `MAX_NAMES`, or braces are nested too deeply.
    """
    try:
        yield from iexpand(location, keep_escapes=True, limit=MAX_NAMES)
    except ExpansionLimitException:
        raise SourceError(
            f"{redacted(location)} means more than {MAX_NAMES:,} names. Name fewer, or use a "
            "wildcard such as *."
        ) from None
    except RecursionError:
        raise SourceError(f"{redacted(location)} has braces that are nested too deeply.") from None


def matches(location: str, left_out: LeftOutFiles) -> Iterator[str]:
    """Files and directories that match a pattern with wildcards, sorted in each directory.

    Args:
        location: The pattern; `**` matches any number of directories.
        left_out: Counts directories that cannot be read.
    """
    first = WILDCARDS.search(location)
    if first is None:
        yield location
        return
    base, _, rest = location[: first.start()].rpartition("/")
    if is_url(location) and base.endswith(":/"):  # no wildcards in a bucket's name
        yield location
        return
    yield from _below(base or "/", (rest + location[first.start() :]).split("/"), left_out)


def base_of(pattern: str) -> str:
    """The directory of a pattern before its first wildcard or brace."""
    return re.split(r"[*?\[{]", pattern, maxsplit=1)[0].rpartition("/")[0]


def matches_name(location: str, pattern: str) -> bool:
    """Whether the last part of a location matches; hidden ones do only by a dot."""
    name = name_of(location)
    is_hidden = name.startswith(".") and not pattern.startswith(".")
    return not is_hidden and fnmatch.fnmatchcase(name, pattern)


def _below(base: str, patterns: list[str], left_out: LeftOutFiles) -> Iterator[str]:
    """What matches in a directory and below, by the parts of a pattern."""
    pattern, *rest = patterns
    if pattern == ANY_DEPTH:
        yield from _at_any_depth(base, rest or ["*"], left_out)
        return
    for location, is_directory in _children(base, left_out):
        if not matches_name(location, pattern):
            continue
        if rest:
            yield from _below(location, rest, left_out) if is_directory else ()
        else:
            yield from [f"{location}/"] if is_directory else _wanted(location, left_out)


def _at_any_depth(base: str, patterns: list[str], left_out: LeftOutFiles) -> Iterator[str]:
    """What matches in a directory and in all below, each searched once; linked ones come last."""
    searched: set[tuple[int, int]] = set()
    starts = [base]  # grows during the loop: linked directories
    for start in starts:
        yield from _in_tree(start, patterns, left_out, searched, starts)


def _in_tree(
    directory: str,
    patterns: list[str],
    left_out: LeftOutFiles,
    searched: set[tuple[int, int]],
    links: list[str],
) -> Iterator[str]:
    """What matches in a directory and below; appends linked directories to `links`."""
    if not is_url(directory):
        with suppress(OSError):  # counted when its children are listed
            status = Path(directory).stat()
            if (status.st_dev, status.st_ino) in searched:
                left_out.add(LeftOut.REPEATED, directory)
                return
            searched.add((status.st_dev, status.st_ino))
    yield from _below(directory, patterns, left_out)
    for location, is_directory in _children(directory, left_out):
        # A directory that matches has been found, with all that is in it.
        is_found = len(patterns) == 1 and matches_name(location, patterns[0])
        if not is_directory or is_found or name_of(location).startswith("."):
            continue
        if not is_url(location) and os.path.islink(location):  # noqa: PTH114
            links.append(location)
        else:
            yield from _in_tree(location, patterns, left_out, searched, links)


def _wanted(location: str, left_out: LeftOutFiles) -> Iterator[str]:
    """The file, if it is an image or a container by its name."""
    if kind_of(location) or is_image_name(name_of(location)):
        yield location
    else:
        left_out.add(LeftOut.NAME, redacted(location))


def _children(base: str, left_out: LeftOutFiles) -> Iterator[tuple[str, bool]]:
    """Locations in a directory, sorted, and whether each is a directory."""
    try:
        if is_url(base):
            for each in files.listing(f"{base}/" if scheme(base) in WEB else base):
                yield each.location.rstrip("/"), each.is_directory
        else:
            for path in sorted(Path(base).iterdir()):
                yield str(path), leads_to_directory(path)
    except (ImageError, OSError):
        left_out.add(LeftOut.UNREADABLE, redacted(base))


def _has_braces(location: str) -> bool:
    """Whether braces mean anything but their characters."""
    try:
        return next(iexpand(location, keep_escapes=True, limit=1), location) != location
    except (ExpansionLimitException, RecursionError):
        return True
