"""Entry point of `python app.py` and of a Hugging Face Space."""

import sys

from nsfw_app.server import main

USAGE = """Usage: python app.py

Starts the server. There are no options: docs/settings.md lists the environment variables.

Commands of `python -m nsfw_app`: serve, classify, explain, scan, filter, export, training-set,
import-labels, train, evaluate, report, purge, optimize, audit, audit-plan, check, backup,
restore, users, keys, personal-data.
"""

if __name__ == "__main__":
    if sys.argv[1:] in (["--help"], ["-h"]):
        sys.stdout.write(USAGE)
    elif sys.argv[1:]:
        sys.stderr.write(f"Error: There is no option {sys.argv[1]!r}.\n\n{USAGE}")
        sys.exit(2)
    else:
        main()
