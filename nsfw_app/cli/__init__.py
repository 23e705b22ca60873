"""The commands: `python -m nsfw_app ...`.

Results go to standard output, progress and problems to standard error, so that output can be
piped. Exit codes: 0 done, 1 an error that stopped the command or kept `classify` from sorting a
file, 2 wrong usage, 3 `classify` judged all it could but not all.
"""

import io
import sys

import typer

from nsfw_app.cli.audit import audit
from nsfw_app.cli.classify import classify
from nsfw_app.cli.export import export
from nsfw_app.cli.keys import keys
from nsfw_app.cli.optimize import optimize
from nsfw_app.cli.purge import purge
from nsfw_app.cli.users import users
from nsfw_app.errors import NSFWReviewError

app = typer.Typer(
    help="Judge images, export what reviewers said of them, and say who may come in.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(classify)
app.command()(export)
app.command()(purge)
app.command()(optimize)
app.command()(audit)
app.add_typer(users, name="users")
app.add_typer(keys, name="keys")


def main() -> None:
    """Run a command; an error of ours becomes a sentence and exit code 1."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what its encoding lacks is printed as an escape
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except NSFWReviewError as error:
        typer.echo(f"Error: {error}", err=True)
        sys.exit(1)
