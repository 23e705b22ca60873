"""The log of commands: warnings of this package; of other libraries with `--verbose` only."""

import pytest

from tests.support.python_process import run_script

# A command that fails, then a library that logs as gcsfs does where a server cannot be reached.
SCRIPT = """
import io, json, logging, sys
sys.stderr = io.StringIO()
sys.argv = ["nsfw-review", *{options}, "scan", "/missing", "--output", "/missing/out"]
from nsfw_app.cli import main
try:
    main()
except SystemExit:
    pass
try:
    raise OSError("a detail")
except OSError:
    logging.getLogger("library").exception("out of retries")
print(json.dumps(sys.stderr.getvalue()))
"""


@pytest.mark.parametrize("options", [[], ["--verbose"]])
def test_other_libraries_are_logged_with_verbose_only(options: list[str]) -> None:
    """An error is one sentence; the page's server keeps its own log."""
    printed = run_script(SCRIPT.format(options=options))
    assert printed.startswith("Error: /missing does not exist.\n")
    assert ("Traceback" in printed) is bool(options)
