"""A directory with one folder for each action, into which judged files are sorted.

- Nothing that is there is overwritten: a different file of the same name gets part of its hash into
  its own name.
- A file appears complete or not at all, also when the command is killed or the disk is full. Where
  the file system has no hard links, a killed command may leave an empty file under its name.
- A file that is there already is not stored twice. If it lies under another action, because the
  policy changed or the model could not answer before, it goes to the folder of its new one.
- A moved file is deleted at its old place only after its bytes are at the new one.
"""

import hashlib
import os
import shutil
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from nsfw_app.cli.files import FoundFile
from nsfw_app.errors import SortingError
from nsfw_app.records import Action, Review

SHORT_HASH = 12  # hexadecimal digits in the name of a file whose own name is taken


class Transfer(StrEnum):
    """What happens to the original."""

    MOVE = "move"
    COPY = "copy"


@dataclass(frozen=True, slots=True)
class ActionFolders:
    """The folders below a directory.

    Args:
        directory: Where they are; made when the first file comes.
        transfer: Whether originals are moved. What a link leads to is copied in any case, because
            it may lie outside the directories that were named.
    """

    directory: Path
    transfer: Transfer

    def add(self, file: FoundFile, review: Review) -> None:
        """Put a file into the folder of its action.

        Raises:
            SortingError: It has changed since it was judged, or the file system refuses. The
                original is where it was.
        """
        if not file.path.is_file():  # opening a pipe would wait for a writer
            raise SortingError(f"{file.path} was not sorted: it is no file that can be read.")
        try:
            digest = _digest(file.path)
            if review.sha256 not in {None, digest}:
                raise SortingError(f"{file.path} was not sorted: it changed after it was judged.")
            self._add(file, digest, review.verdict.action)
        except OSError as error:
            reason = error.strerror or str(error)
            raise SortingError(f"{file.path} was not sorted: {reason}.") from error

    def _add(self, file: FoundFile, digest: str, action: Action) -> None:
        names = _names(file.relative, digest)
        keeps = self.transfer is Transfer.COPY or file.linked
        folder = self.directory / action
        known = self._find(names, file.path, digest)
        if known is None:
            _transfer(file.path, _free(folder, names), digest, keeps=keeps)
            return
        _part(known, digest).unlink(missing_ok=True)  # of a run that was killed in its last step
        # With one name only, what lies there is the original itself, seen through another mount.
        is_original = known.samefile(file.path) and known.stat().st_nlink == 1
        if not known.is_relative_to(folder):
            _transfer(known, _free(folder, names), digest, keeps=False)
        if not keeps and not is_original:
            file.path.unlink()

    def _find(self, names: list[Path], source: Path, digest: str) -> Path | None:
        """A file with the same bytes that an earlier run has put into any of the folders."""
        size = source.stat().st_size
        for action in Action:
            for path in (self.directory / action / name for name in names):
                if path.is_file() and path.stat().st_size == size and _digest(path) == digest:
                    return path
        return None


def _names(relative: Path, digest: str) -> list[Path]:
    """The names that a file may get, the preferred one first."""
    marks = (f".{digest[:SHORT_HASH]}", f".{digest}")
    return [
        relative,
        *(relative.with_name(f"{relative.stem}{mark}{relative.suffix}") for mark in marks),
    ]


def _free(folder: Path, names: list[Path]) -> Path:
    """The first name under which nothing is in a folder.

    Raises:
        FileExistsError: There is none.
    """
    for path in (folder / name for name in names):
        if not os.path.lexists(path):
            return path
    raise FileExistsError(f"every name for it is taken in {folder}")


def _transfer(source: Path, target: Path, digest: str, *, keeps: bool) -> None:
    """Put a file's bytes under a name that is free.

    Raises:
        OSError: The file system refuses, or the name was taken meanwhile.
        SortingError: The bytes have changed meanwhile.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if not keeps and _link(source, target):
        source.unlink()
        return
    part = _part(target, digest)  # what a killed run has left under this name is written again
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
    """Where a file is written before it gets its name."""
    return target.parent / f".{digest}.part"


def _link(source: Path, target: Path) -> bool:
    """Give a file a second name, if source and target are on one file system that has links.

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
    """Rename a file where there are no links, without replacing what has the name.

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
    """Wait until a file or directory is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
