"""Speed of each backend, of files, page and API on this machine: `python -m benchmarks`."""

import json
from typing import Annotated

import typer
from rich.console import Console

from benchmarks import backends
from benchmarks.suite import MEGAPIXELS, Workload, run
from benchmarks.table import show
from nsfw_app import settings, system
from nsfw_app.errors import NSFWReviewError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def benchmark(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object instead of tables.")
    ] = False,
    model: Annotated[
        str | None,
        typer.Option(
            help="Hub id or directory. Default: Falconsai's, or random weights of its shape."
        ),
    ] = None,
    backend: Annotated[
        list[str] | None, typer.Option(help="Measure only this backend; may be repeated.")
    ] = None,
    engine: Annotated[  # the option's name in version 0.1
        list[str] | None, typer.Option(hidden=True)
    ] = None,
    seconds: Annotated[float, typer.Option(min=0, help="Duration of each measurement.")] = 8,
    classified: Annotated[
        int, typer.Option(min=1, help="Number of 12-megapixel images to classify.")
    ] = 200,
    uploaded: Annotated[
        int, typer.Option(min=1, help="Number of 12-megapixel images to upload.")
    ] = 500,
    megapixels: Annotated[
        list[float] | None, typer.Option(min=0.01, max=80, help="Sizes of files to score.")
    ] = None,
) -> None:
    """Measure the plain pipeline, each backend, files, page and API in one run."""
    only = (*(backend or ()), *(engine or ()))
    possible = backends.names(system.cpu())
    if unknown := set(only) - set(possible):
        raise typer.BadParameter(
            f"This machine has no backend {', '.join(sorted(unknown))}. "
            f"Choose from {', '.join(possible)}."
        )
    try:
        results = run(
            settings.load(),
            model=model,
            only=only,
            workload=Workload(seconds, classified, uploaded, tuple(megapixels or MEGAPIXELS)),
            progress=lambda text: typer.echo(text, err=True),
        )
    except NSFWReviewError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from None
    if as_json:
        typer.echo(json.dumps(results, indent=2))
    else:
        show(results, Console())


if __name__ == "__main__":
    app(prog_name="python -m benchmarks")
