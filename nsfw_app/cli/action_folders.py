"""Action folders: a directory with one folder per action, into which files are sorted.

- No file is overwritten: a different file of the same name gets part of its hash in its name.
- A file appears complete or not at all, even if the command is killed or the disk is full. On a
  file system without hard links, a killed command may leave an empty file of that name.
- A file is not stored twice. A file already in another action's folder, because the policy changed
  or the model was unavailable, is moved to the folder of its new action.
- The original of a moved file is deleted only after its bytes are in the destination.
"""

import hashlib
import os
import shutil
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from nsfw_app.datasets.file_search import FoundFile
from nsfw_app.errors import SortingError
from nsfw_app.records import Action, Review

SHORT_HASH = 12  # hexadecimal digits added to a name that is taken


class Transfer(StrEnum):
    """Whether the original is moved or copied."""

    MOVE = "move"
    COPY = "copy"


@dataclass(frozen=True, slots=True)
class ActionFolders:
    """The action folders below a directory.

    Args:
        directory: Directory that contains the action folders; created with the first file.
        transfer: Whether originals are moved or copied. The target of a link is always copied,
            because it may lie outside the directories that were named.
    """

    directory: Path
    transfer: Transfer

    def find_sorted(self, file: FoundFile) -> Path | None:
        """The place of a file that a previous run has moved, found by its relative path.

        None if the original still exists, or if no folder has a file of this path.
        """
        if os.path.lexists(file.path):
            return None
        places = (self.directory / action / file.relative for action in Action)
        return next((place for place in places if place.is_file()), None)

    def add(self, file: FoundFile, review: Review) -> None:
        """Put a file into the folder of its action.

        Raises:
            SortingError: The file changed after it was classified, or an operation of the file
                system failed. The original is unchanged.
        """
        if not file.path.is_file():  # opening a pipe would wait for a writer
            raise SortingError(f"{file.path} was not sorted: it is not a readable file.")
        try:
            digest = _digest(file.path)
            if review.sha256 not in {None, digest}:
                raise SortingError(
                    f"{file.path} was not sorted: it changed after it was classified."
                )
            self._add(file, digest, review.verdict.action)
        except OSError as error:
            reason = error.strerror or str(error)
            raise SortingError(f"{file.path} was not sorted: {reason}.") from error

    def _add(self, file: FoundFile, digest: str, action: Action) -> None:
        names = _names(file.relative, digest)
        keeps = self.transfer is Transfer.COPY or file.linked
        folder = self.directory / action
        sorted_file = self._find(names, file.path, digest)
        if sorted_file is None:
            _transfer(file.path, _free(folder, names), digest, keeps=keeps)
            return
        _part(sorted_file, digest).unlink(missing_ok=True)  # left by a run killed in its last step
        # The same file with a single link is the original itself, reached via another mount point.
        is_original = sorted_file.samefile(file.path) and sorted_file.stat().st_nlink == 1
        if not sorted_file.is_relative_to(folder):
            _transfer(sorted_file, _free(folder, names), digest, keeps=False)
        if not keeps and not is_original:
            file.path.unlink()

    def _find(self, names: list[Path], source: Path, digest: str) -> Path | None:
        """A file with the same bytes that a previous run has put into any of the folders."""
        size = source.stat().st_size
        for action in Action:
            for path in (self.directory / action / name for name in names):
                if path.is_file() and path.stat().st_size == size and _digest(path) == digest:
                    return path
        return None


def _names(relative: Path, digest: str) -> list[Path]:
    """The names that a file may get, in order of preference."""
    marks = (f".{digest[:SHORT_HASH]}", f".{digest}")
    return [
        relative,
        *(relative.with_name(f"{relative.stem}{mark}{relative.suffix}") for mark in marks),
    ]


def _free(folder: Path, names: list[Path]) -> Path:
    """The first of the names that is free in a folder.

    Raises:
        FileExistsError: All are taken.
    """
    for path in (folder / name for name in names):
        if not os.path.lexists(path):
            return path
    raise FileExistsError(f"every name for it is taken in {folder}")


def _transfer(source: Path, target: Path, digest: str, *, keeps: bool) -> None:
    """Move or copy a file to a free name.

    Raises:
        OSError: An operation failed, or the name was taken in the meantime.
        SortingError: The bytes changed during the copy.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if not keeps and _link(source, target):
        source.unlink()
        return
    part = _part(target, digest)  # overwrites what a killed run has left
    try:
        shutil.copy2(source, part)
        if _digest(part) != digest:
            raise SortingError(f"{source} was not sorted: it changed while it was copied.")
        if not keeps:
            _flush(part)
        if not _link(part, target):
            _rename(part, target)
        if not keeps:
            _flush(target.parent)
            source.unlink()
    finally:
        part.unlink(missing_ok=True)


def _part(target: Path, digest: str) -> Path:
    """Temporary name of a file while it is written."""
    return target.parent / f".{digest}.part"


def _link(source: Path, target: Path) -> bool:
    """Create a hard link; False if not supported, or the two paths are on different file systems.

    Raises:
        FileExistsError: The name is taken.
    """
    try:
        target.hardlink_to(source)
    except FileExistsError:
        raise
    except OSError:
        return False
    return True


def _rename(source: Path, target: Path) -> None:
    """Rename a file without replacing another, on a file system without hard links.

    Raises:
        FileExistsError: The name is taken.
    """
    target.touch(exist_ok=False)  # takes the name
    try:
        source.replace(target)
    except BaseException:
        target.unlink()
        raise


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    """Flush a file or directory to disk (fsync)."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
