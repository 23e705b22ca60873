"""Speed of this machine, backend by backend and from file to score: `python -m benchmarks`."""

import json
from typing import Annotated

import typer
from rich.console import Console

from benchmarks import backends
from benchmarks.suite import MEGAPIXELS, Effort, run
from benchmarks.table import show
from nsfw_app import settings, system

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def benchmark(
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object instead of tables.")
    ] = False,
    model: Annotated[
        str | None,
        typer.Option(help="Hub id or directory. Without it Falconsai's, or one of its shape."),
    ] = None,
    engine: Annotated[
        list[str] | None,
        typer.Option(help="Only this engine; may be repeated. Without it all of them."),
    ] = None,
    seconds: Annotated[float, typer.Option(min=0, help="How long to measure each number.")] = 8,
    classified: Annotated[
        int, typer.Option(min=1, help="Photographs of 12 megapixels to classify.")
    ] = 200,
    uploaded: Annotated[
        int, typer.Option(min=1, help="Photographs of 12 megapixels to upload.")
    ] = 500,
    megapixels: Annotated[
        list[float] | None, typer.Option(min=0.01, max=80, help="Sizes of files to score.")
    ] = None,
) -> None:
    """Measure the plain pipeline, each engine, files, page and API, side by side in one run."""
    possible = backends.names(system.cpu())
    if wrong := set(engine or ()) - set(possible):
        raise typer.BadParameter(
            f"There is no engine {', '.join(sorted(wrong))} here; choose of {', '.join(possible)}."
        )
    sizes = tuple(megapixels or MEGAPIXELS)
    results = run(
        settings.load(),
        model=model,
        only=tuple(engine or ()),
        effort=Effort(seconds, classified, uploaded, sizes),
        progress=lambda text: typer.echo(text, err=True),
    )
    if as_json:
        typer.echo(json.dumps(results, indent=2))
    else:
        show(results, Console())


if __name__ == "__main__":
    app(prog_name="python -m benchmarks")
