"""Command line interface: `nsfw-review`, also `python -m nsfw_app`.

- Results go to standard output; progress, warnings and errors to standard error.
- Exit codes: 0 success; 1 an error stopped the command, `classify` could not sort a file, `check`
  found a fault, `audit-plan` found no plan, or `train` wrote no model; 2 wrong usage, or `check`
  could not check something; 3 `classify`, `explain`, `scan` or
  `evaluate` could not classify all images, or `filter` not read all; 130 Ctrl+C interrupted it.
- An error is one sentence. Tracebacks are printed with `--verbose` only.
"""

import io
import logging
import sys
from typing import Annotated, NoReturn

import typer

from nsfw_app import __version__
from nsfw_app.cli.audit import audit
from nsfw_app.cli.audit_plan import audit_plan
from nsfw_app.cli.backup import backup, restore
from nsfw_app.cli.check import check
from nsfw_app.cli.classify import classify
from nsfw_app.cli.evaluate import evaluate
from nsfw_app.cli.explain import explain
from nsfw_app.cli.export import export
from nsfw_app.cli.filter import filter_images
from nsfw_app.cli.import_labels import import_labels
from nsfw_app.cli.keys import keys
from nsfw_app.cli.optimize import optimize
from nsfw_app.cli.personal_data import personal_data
from nsfw_app.cli.purge import purge
from nsfw_app.cli.report import report
from nsfw_app.cli.scan import scan
from nsfw_app.cli.serve import serve
from nsfw_app.cli.standard_output import with_output_errors
from nsfw_app.cli.train import train
from nsfw_app.cli.training_set import training_set
from nsfw_app.cli.users import users
from nsfw_app.errors import NSFWReviewError, OutputError

app = typer.Typer(
    help="Classify images, serve the review page, export decisions, manage users and keys.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(serve)
app.command()(classify)
app.command()(explain)
app.command()(scan)
app.command("filter")(filter_images)
app.command()(export)
app.command()(evaluate)
app.command()(report)
app.command()(purge)
app.command()(optimize)
app.command()(training_set)
app.command()(import_labels)
app.command()(train)
app.command()(audit)
app.command()(audit_plan)
app.command()(check)
app.command()(backup)
app.command()(restore)
app.add_typer(users, name="users")
app.add_typer(keys, name="keys")
app.add_typer(personal_data, name="personal-data")


def main() -> None:
    """Run a command. Errors of this package become a sentence, exit 1."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # escape characters that its encoding lacks
            stream.reconfigure(errors="backslashreplace")
    sys.stdout = with_output_errors(sys.stdout)
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except NSFWReviewError as error:
        if isinstance(error, OutputError) and isinstance(error.__cause__, BrokenPipeError):
            sys.exit(1)  # the reader of a pipe may stop reading
        _fail(str(error))


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(f"nsfw-review {__version__}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    _: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Print the log with tracebacks to standard error.")
    ] = False,
) -> None:
    """Options of all commands."""
    if context.invoked_subcommand != "serve":  # whose standard error is the server's log
        logging.getLogger("nsfw_app").handlers = [LogHandler(verbose=verbose)]
        if not verbose:  # else Python prints warnings of other libraries, with their tracebacks
            logging.getLogger().addHandler(logging.NullHandler())


class LogHandler(logging.Handler):
    """Prints log records to standard error.

    Without `verbose`, warnings and errors only, and none with a traceback: the command itself
    prints the sentence for that error.
    """

    def __init__(self, *, verbose: bool) -> None:
        super().__init__(logging.NOTSET if verbose else logging.WARNING)
        if not verbose:
            self.addFilter(lambda record: not record.exc_info)

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        typer.echo(self.format(record), err=True)


def _fail(message: str) -> NoReturn:
    typer.echo(f"Error: {message}", err=True)
    sys.exit(1)
