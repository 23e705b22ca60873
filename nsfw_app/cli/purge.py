"""`purge`: delete pictures, now."""

import re
from typing import Annotated

import typer

from nsfw_app import settings
from nsfw_app.bootstrap import open_store
from nsfw_app.cli.operator import operator

SHA256 = re.compile(r"[0-9a-f]{64}")


def purge(
    image: Annotated[
        str | None, typer.Option(help="SHA-256 of one image to delete, whoever needs it.")
    ] = None,
) -> None:
    """Delete the pictures that nobody needs, or those of one image. Scores and answers stay."""
    purges = open_store(settings.load()).purges
    if image is None:
        typer.echo(f"{purges.run(actor=operator())} pictures deleted.")
        return
    if not SHA256.fullmatch(image.lower()):
        raise typer.BadParameter(f"'{image}' is no SHA-256: 64 hexadecimal digits.")
    if not purges.purge(image.lower(), actor=operator()):
        typer.echo(f"No image {image} is known.", err=True)
        raise typer.Exit(1)
    typer.echo(f"What {image} looks like is deleted. Its scores and answers stay.")
