"""Files that commands write."""

import re
from pathlib import Path

import typer

from nsfw_app.datasets.file_search import leads_to_directory

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


def write_file(path: Path, content: str | bytes) -> None:
    """Write bytes, or a text as UTF-8.

    Raises:
        BadParameter: The file cannot be written.
    """
    try:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    except OSError as error:
        raise typer.BadParameter(f"{path} cannot be written: {error.strerror}.") from error
