"""Files that commands write."""

from pathlib import Path

import typer


def check_directory(path: Path) -> None:
    """Check, before work that takes long, that a file can be made where it is to be.

    Raises:
        BadParameter: Its directory does not exist.
    """
    if not path.parent.is_dir():
        raise typer.BadParameter(f"{path.parent} is not a directory.")


def write_file(path: Path, text: str) -> None:
    """Write a text as UTF-8.

    Raises:
        BadParameter: The file cannot be written.
    """
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise typer.BadParameter(f"{path} cannot be written: {error.strerror}.") from error
