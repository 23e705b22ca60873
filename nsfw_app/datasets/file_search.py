"""File search: the files that were named, and the images in the directories that were named.

- Linked directories are followed, each directory once, so that circular links end.
- What is left out is counted by reason, with the first names.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from nsfw_app.datasets.left_out import LeftOut, LeftOutFiles
from nsfw_app.imaging.formats import SUFFIXES

IMAGE_SUFFIXES = frozenset({*SUFFIXES, ""})


def is_image_name(name: str) -> bool:
    """Whether a file may be an image by its name: with the suffix of a format, or with none."""
    return PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES


def leads_to_directory(path: Path) -> bool:
    """Whether a path leads to a directory; not one whose links or name cannot be followed.

    `Path.is_dir` and `os.DirEntry.is_dir` raise where a link leads into a directory that this user
    may not search, or to a name that is too long.
    """
    return os.path.isdir(path)  # noqa: PTH112


def exists(path: str | Path) -> bool:
    """Whether a path leads to a file or directory that this user may see.

    `Path.exists` raises where a name is too long, or a directory may not be searched.
    """
    return os.path.exists(path)  # noqa: PTH110


def real_path(path: Path) -> Path:
    """The absolute path without links; of one that cannot be followed, as far as it can be.

    `Path.resolve` raises for links that form a circle.
    """
    try:
        return Path(os.path.realpath(path))
    except ValueError:  # a null character
        return path.absolute()


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file to classify.

    Attributes:
        path: Where it is.
        relative: Its path below the directory that was named, or its name alone.
        linked: Whether it was reached through a link, so that it may lie anywhere.
        is_found: Whether it lies in a directory that was named, and was not named itself.
    """

    path: Path
    relative: Path
    linked: bool
    is_found: bool = False


@dataclass(slots=True)
class FileSearch:
    """Finds files below paths.

    Args:
        excluded: A directory that is never searched: the one that files are sorted into.
        left_out: Counts what is left out.
        is_wanted: Whether a file in a directory is listed, by its name.
    """

    excluded: Path | None = None
    left_out: LeftOutFiles = field(default_factory=LeftOutFiles)
    is_wanted: Callable[[str], bool] = is_image_name
    _searched: set[tuple[int, int]] = field(default_factory=set)

    def files(self, paths: Iterable[Path]) -> Iterator[FoundFile]:
        """The files, in the order of the paths and sorted within each.

        Linked directories come last, so that a file that is reached without a link keeps its own
        path. A path that was named is included with any extension.
        """
        links: list[tuple[Path, Path]] = []
        for path in paths:
            if leads_to_directory(path):
                yield from self._directory(path, path, links, linked=False)
            else:
                # Not `Path.is_symlink`, which raises for names that are too long.
                yield FoundFile(path, Path(path.name), os.path.islink(path))  # noqa: PTH114
        for path, root in links:  # grows during the loop: linked directories may contain links
            yield from self._directory(path, root, links, linked=True)

    def has_searched(self, directory: Path) -> bool:
        """Whether a directory was searched, under this name or another one."""
        try:
            status = directory.stat()
        except OSError:
            return False
        return (status.st_dev, status.st_ino) in self._searched

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
                self.left_out.add(LeftOut.UNREADABLE, str(directory))
                continue
            inner = []
            for entry in entries:
                path = Path(entry.path)
                if entry.name.startswith("."):
                    self.left_out.add(LeftOut.HIDDEN, str(path))
                elif entry.is_dir(follow_symlinks=False):
                    inner.append(path)
                elif leads_to_directory(path):
                    links.append((path, root))
                elif not self.is_wanted(entry.name):
                    self.left_out.add(LeftOut.NAME, str(path))
                else:
                    is_link = linked or entry.is_symlink()
                    yield FoundFile(path, path.relative_to(root), is_link, is_found=True)
            waiting += reversed(inner)

    def _is_new(self, directory: Path) -> bool:
        """Whether a directory was not searched yet; marks it as searched."""
        try:
            status = directory.stat()
        except OSError:
            self.left_out.add(LeftOut.UNREADABLE, str(directory))
            return False
        if self.excluded and real_path(directory).is_relative_to(real_path(self.excluded)):
            self.left_out.add(LeftOut.DESTINATION, str(directory))
            return False
        identity = (status.st_dev, status.st_ino)
        if identity in self._searched:
            self.left_out.add(LeftOut.REPEATED, str(directory))
            return False
        self._searched.add(identity)
        return True
