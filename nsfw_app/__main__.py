"""Entry point of the command `nsfw-review`, and of `python -m nsfw_app`."""

import os
import signal

EXIT_INTERRUPTED = 128 + signal.SIGINT


def main() -> None:
    """Run a command. Ctrl+C while the program is loaded ends it without a traceback."""
    handler = signal.signal(signal.SIGINT, lambda *_: os._exit(EXIT_INTERRUPTED))
    from nsfw_app import cli  # takes a second

    signal.signal(signal.SIGINT, handler)
    cli.main()


if __name__ == "__main__":
    main()
