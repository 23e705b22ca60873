"""`explain`: a map of why an image has its score, as a PNG or as JSON."""

import json
from pathlib import Path
from typing import Annotated

import typer

from nsfw_app import settings
from nsfw_app.bootstrap import open_engine, open_store
from nsfw_app.cli.classify import EXIT_UNAVAILABLE
from nsfw_app.cli.output_file import check_directory, write_file
from nsfw_app.cli.progress import printable, progress_output
from nsfw_app.imaging import decode
from nsfw_app.models.explain.explanation import Method
from nsfw_app.review.explanations import heat_map_png

STEPS = 100  # of the progress bar


def explain(
    path: Annotated[Path, typer.Argument(metavar="IMAGE", help="An image file.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the map to this PNG file.")
    ] = None,
    method: Annotated[
        Method | None, typer.Option(help="Default: the best one that the model has.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the map as JSON.")] = False,
    reveal: Annotated[
        bool, typer.Option("--reveal", help="Draw over the image instead of its blurred version.")
    ] = False,
) -> None:
    """Explain the score of an image: which area lowers it most when covered.

    Exits 3 if the image could not be classified.
    """
    if output is not None:
        check_directory(output)
    chosen = settings.load()
    engine = open_engine(chosen, open_store(chosen))
    (review,) = engine.review_files([path], source="command")
    if review.prediction is None:
        message = review.problem.message if review.problem else ""
        typer.echo(printable(message), err=True)
        raise typer.Exit(EXIT_UNAVAILABLE)
    data, done = decode.read_file(path, engine.limits), 0
    with progress_output(STEPS) as (write, advance):

        def progress(part: float) -> bool:
            nonlocal done
            while done < part * STEPS:
                advance()
                done += 1
            return True

        explanation, image = engine.explanations.of_file(
            data, review.prediction, name=str(path), method=method, progress=progress
        )
        if output is not None:
            write_file(output, heat_map_png(explanation, image, reveal=reveal))
        text = json.dumps(explanation.to_json()) if as_json else explanation.sentence
        write(f"{text}\n")
