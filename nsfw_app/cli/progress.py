"""Progress of commands: a bar on a terminal, and lines of results that it does not overwrite."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from rich.console import Console
from rich.progress import Progress


@contextmanager
def progress_output(total: int) -> Iterator[tuple[Callable[[str], None], Callable[[], None]]]:
    """Two functions: write a line of results, advance the progress bar.

    The bar is shown on a terminal only.
    """
    on_terminal = sys.stdout.isatty()
    # On the terminal that shows the bar, lines must be printed above it.
    console = Console(stderr=not on_terminal)
    progress = Progress(console=console, disable=not console.is_terminal, redirect_stdout=False)

    def write(line: str) -> None:
        if on_terminal:
            console.out(printable(line.rstrip("\r\n")), highlight=False)
        else:
            sys.stdout.write(line)
            sys.stdout.flush()

    with progress:
        task = progress.add_task("Working...", total=total)
        yield write, partial(progress.advance, task)


def printable(text: str) -> str:
    """The text with line breaks and terminal escape sequences made visible."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
