"""File search: the files that were named, and the images in the directories that were named.

- Linked directories are followed, each directory once, so that circular links end.
- What is left out is counted by reason, with the first names.
"""

import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from nsfw_app.imaging.formats import SUFFIXES

MAX_NAMED = 3  # paths that are named for each reason


class LeftOut(StrEnum):
    """Why a file or directory is not classified."""

    NAME = "not named as an image"
    HIDDEN = "hidden"
    REPEATED = "directories that were searched already"
    UNREADABLE = "directories that cannot be read"
    DESTINATION = "inside the destination"


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file to classify.

    Attributes:
        path: Where it is.
        relative: Its path below the directory that was named, or its name alone.
        linked: Whether it was reached through a link, so that it may lie anywhere.
    """

    path: Path
    relative: Path
    linked: bool


@dataclass(slots=True)
class FileSearch:
    """Finds files below paths.

    Args:
        excluded: A directory that is never searched: the one that files are sorted into.
    """

    excluded: Path | None = None
    left_out: Counter[LeftOut] = field(default_factory=Counter)
    _names: dict[LeftOut, list[str]] = field(default_factory=lambda: defaultdict(list))
    _searched: set[tuple[int, int]] = field(default_factory=set)

    def files(self, paths: list[Path]) -> Iterator[FoundFile]:
        """The files, in the order of the paths and sorted within each.

        Linked directories come last, so that a file that is reached without a link keeps its own
        path. A path that was named is included with any extension.
        """
        links: list[tuple[Path, Path]] = []
        for path in paths:
            if path.is_dir():
                yield from self._directory(path, path, links, linked=False)
            else:
                yield FoundFile(path, Path(path.name), path.is_symlink())
        for path, root in links:  # grows during the loop: linked directories may contain links
            yield from self._directory(path, root, links, linked=True)

    def summary(self) -> str:
        """One sentence about what was left out; empty if nothing was."""
        if not self.left_out:
            return ""
        parts = []
        for reason, count in self.left_out.items():
            names = ", ".join(self._names[reason]) + (", ..." if count > MAX_NAMED else "")
            parts.append(f"{reason}: {count} ({names})")
        return f"Left out: {'; '.join(parts)}."

    def _directory(
        self, top: Path, root: Path, links: list[tuple[Path, Path]], *, linked: bool
    ) -> Iterator[FoundFile]:
        """The images below one directory; appends linked directories to `links`."""
        waiting = [top]
        while waiting:
            directory = waiting.pop()
            if not self._is_new(directory):
                continue
            try:
                with os.scandir(directory) as scan:
                    entries = sorted(scan, key=lambda entry: entry.name)
            except OSError:
                self._leave_out(LeftOut.UNREADABLE, directory)
                continue
            inner = []
            for entry in entries:
                path = Path(entry.path)
                if entry.name.startswith("."):
                    self._leave_out(LeftOut.HIDDEN, path)
                elif entry.is_dir(follow_symlinks=False):
                    inner.append(path)
                elif entry.is_dir():
                    links.append((path, root))
                elif path.suffix.lower() not in {*SUFFIXES, ""}:
                    self._leave_out(LeftOut.NAME, path)
                else:
                    is_link = linked or entry.is_symlink()
                    yield FoundFile(path, path.relative_to(root), is_link)
            waiting += reversed(inner)

    def _is_new(self, directory: Path) -> bool:
        """Whether a directory was not searched yet; marks it as searched."""
        try:
            status = directory.stat()
        except OSError:
            self._leave_out(LeftOut.UNREADABLE, directory)
            return False
        if self.excluded and directory.resolve().is_relative_to(self.excluded.resolve()):
            self._leave_out(LeftOut.DESTINATION, directory)
            return False
        identity = (status.st_dev, status.st_ino)
        if identity in self._searched:
            self._leave_out(LeftOut.REPEATED, directory)
            return False
        self._searched.add(identity)
        return True

    def _leave_out(self, reason: LeftOut, path: Path) -> None:
        self.left_out[reason] += 1
        if self.left_out[reason] <= MAX_NAMED:
            self._names[reason].append(str(path))
