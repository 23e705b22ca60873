"""Files that commands write: complete or not at all."""

import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from nsfw_app.datasets.file_search import leads_to_directory
from nsfw_app.datasets.partial_output import partial_file

Content = str | bytes | Iterable[str]
URL = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)  # as a path, it has one slash


def check_local(path: Path) -> None:
    """Check that an output is a path, because files are written on this machine only.

    Raises:
        BadParameter: It is a URL.
    """
    if match := URL.match(str(path)):
        raise typer.BadParameter(
            f"{match[0]}/{str(path)[match.end() :]} is a URL, and outputs are written to this "
            "machine only. Name a path, and copy the result from there."
        )


def check_directory(path: Path) -> None:
    """Check, before work that takes long, that a file can be made where it is to be.

    Raises:
        BadParameter: Its directory does not exist, or it is a URL.
    """
    check_local(path)
    if not leads_to_directory(path.parent):
        raise typer.BadParameter(f"{path.parent} is not a directory.")


def check_new(path: Path) -> None:
    """Check, before work that takes long, that nothing is where a file is to be made.

    Raises:
        BadParameter: Something is there.
    """
    if os.path.lexists(path):
        raise typer.BadParameter(f"{path} exists and is not overwritten. Choose another name.")


def write_file(path: Path, content: Content) -> None:
    """Write bytes, or a text or lines as UTF-8, in place of an earlier file.

    The earlier file stays until the new one is complete. A device or pipe is written as it is.

    Raises:
        BadParameter: The file cannot be written.
    """
    with _errors(path):
        if path.exists() and not path.is_file():
            with path.open("wb") as file:
                file.writelines(_chunks(content))
            return
        target = path.resolve()  # a link stays
        with _complete(target, content) as partial:
            if target.exists():
                partial.chmod(stat.S_IMODE(target.stat().st_mode))
            partial.replace(target)


def write_new_file(path: Path, content: Content) -> None:
    """Write bytes, or a text or lines as UTF-8, as a new file, which appears when it is complete.

    Raises:
        BadParameter: The file exists or cannot be written.
    """
    with _errors(path), _complete(path, content) as partial:
        check_new(path)
        partial.rename(path)


@contextmanager
def _complete(path: Path, content: Content) -> Iterator[Path]:
    """A temporary file with the content, to be renamed to the path."""
    with partial_file(path) as partial:
        with partial.open("wb") as file:
            file.writelines(_chunks(content))
            file.flush()
            os.fsync(file.fileno())
        yield partial


def _chunks(content: Content) -> Iterator[bytes]:
    if isinstance(content, bytes):
        yield content
    else:
        yield from (text.encode() for text in ([content] if isinstance(content, str) else content))


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise typer.BadParameter(f"{path} cannot be written: {error.strerror}.") from error
