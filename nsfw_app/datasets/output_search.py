"""Whether the next scan of sources finds an output: in directories, by patterns, through links."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from nsfw_app.datasets import files, patterns
from nsfw_app.datasets.file_search import FileSearch, exists
from nsfw_app.datasets.locations import absolute, is_url, resolved
from nsfw_app.datasets.patterns import ANY_DEPTH, WILDCARDS, matches_name
from nsfw_app.datasets.units import existing, parted
from nsfw_app.errors import ImageError

LEVELS = 2  # of names in a directory of images: subdirectories and files


class OutputSearch:
    """Searches the directories of sources, as a scan does, for the place of an output.

    - A directory is searched once, links are followed, and files are not opened.
    - Rather too much is found: names inside the output are not known yet, and `**` finds all.

    Args:
        output: It need not exist; its directory does.
        names: Of the files or the directory that are written there.
        is_directory: Whether images lie in subdirectories of it.
        excluded: The directory of the scan.
    """

    def __init__(
        self, output: Path, *, names: Sequence[str], is_directory: bool, excluded: Path
    ) -> None:
        self._parent, self._names, self._is_directory = output.parent, names, is_directory
        self._search = FileSearch(excluded, is_wanted=lambda _: False)

    def finding(self, sources: Iterable[str]) -> str | None:
        """The first source that finds the output; None where none does."""
        return next((source for source in sources if self._is_found(source)), None)

    def _is_found(self, source: str) -> bool:
        mark, location = parted(source)
        if mark:
            return any(map(self._is_searched, _lines(absolute(location))))
        if is_url(source):
            return False
        if exists(source):
            return self._is_searched(source)
        return any(map(self._is_matched, patterns.without_braces(source)))

    def _is_matched(self, pattern: str) -> bool:
        return self._matches("/", pattern.strip("/").split("/"))

    def _matches(self, directory: str, parts: Sequence[str]) -> bool:
        """Whether parts of a pattern match the output in a directory, or one where it lies."""
        part, *rest = parts
        if part == ANY_DEPTH:
            return self._is_searched(directory)
        if self._is_parent(Path(directory)):
            reaches = self._is_directory and (ANY_DEPTH in rest or len(rest) <= LEVELS)
            if (reaches or not rest) and any(matches_name(name, part) for name in self._names):
                return True
        return any(
            self._matches(inner, rest) if rest else self._is_searched(inner)
            for inner in _directories(directory, part)
        )

    def _is_searched(self, location: str) -> bool:
        """Whether the directory of the output is this one or below it."""
        if is_url(location) or not os.path.isdir(location):  # noqa: PTH112  # see file_search
            return False
        for _ in self._search.files([Path(location)]):
            pass
        return self._search.has_searched(self._parent)

    def _is_parent(self, directory: Path) -> bool:
        with suppress(OSError):
            return directory.samefile(self._parent)
        return False


def _lines(location: str) -> Iterator[str]:
    """The locations in a list; none where it cannot be read, which an error says later."""
    with suppress(ImageError):
        for line in filter(None, files.lines(location)):
            with suppress(ImageError):  # of a line that names nothing
                yield existing(resolved(line, table=location))


def _directories(directory: str, pattern: str) -> Iterator[str]:
    """The directories in one that match a part of a pattern."""
    if not WILDCARDS.search(pattern):
        path = os.path.join(directory, pattern)  # noqa: PTH118
        if os.path.isdir(path):  # noqa: PTH112
            yield path
        return
    with suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            with suppress(OSError):  # a link that cannot be followed
                if matches_name(entry.path, pattern) and entry.is_dir():
                    yield entry.path
