"""Standard output whose failed writes raise `OutputError`, distinct from errors of other files."""

import io
import os
from typing import TextIO

from typing_extensions import Buffer

from nsfw_app.errors import OutputError


class StandardOutput(io.FileIO):
    """The file descriptor of standard output."""

    def write(self, data: Buffer, /) -> int:
        """Write some bytes; returns their number.

        Raises:
            OutputError: The operating system reported an error. All further output is discarded,
                because Python flushes its buffers again at exit.
        """
        try:
            return super().write(data)
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            raise OutputError(f"Standard output cannot be written: {error.strerror}.") from error


def with_output_errors(stream: TextIO | None) -> TextIO:
    """A standard output that raises `OutputError`, with the encoding of the given one.

    Characters that the encoding lacks are escaped. A stream that is not a file is returned as it
    is; output is discarded if the shell has closed it (`>&-`).
    """
    if stream is None:
        return io.TextIOWrapper(io.FileIO(os.devnull, "w"), encoding="utf-8")
    try:
        descriptor = stream.fileno()
    except OSError:
        return stream
    raw = StandardOutput(descriptor, "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors="backslashreplace",
        newline="",
        line_buffering=stream.isatty(),
    )
