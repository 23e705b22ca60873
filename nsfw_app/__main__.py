"""Entry point of the command `nsfw-review`, and of `python -m nsfw_app`."""

import os
import signal
from typing import NoReturn

EXIT_INTERRUPTED = 128 + signal.SIGINT


def main() -> None:
    """Run a command. Ctrl+C ends it with 130 and without a traceback, at any moment.

    An interrupted process ends at once when the command has been left: Python's own end would wait
    for threads that compute, or abort in one that loads a model.
    """
    handler = signal.signal(signal.SIGINT, _end_interrupted)
    from nsfw_app import cli  # takes a second

    try:
        signal.signal(signal.SIGINT, handler)
        cli.main()
    except KeyboardInterrupt:
        _end_interrupted()
    except SystemExit as ended:
        if ended.code == EXIT_INTERRUPTED:
            _end_interrupted()
        raise


def _end_interrupted(*_: object) -> NoReturn:
    """Also a handler of SIGINT. What was written to standard output is flushed by the command."""
    os._exit(EXIT_INTERRUPTED)


if __name__ == "__main__":
    main()
