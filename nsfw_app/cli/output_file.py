"""Files that commands write."""

from pathlib import Path

import typer


def write_file(path: Path, text: str) -> None:
    """Write a text as UTF-8.

    Raises:
        BadParameter: The file cannot be written.
    """
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise typer.BadParameter(f"{path} cannot be written: {error.strerror}.") from error
