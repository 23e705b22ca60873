"""`purge`: delete previews now."""

import re
from typing import Annotated

import typer

from nsfw_app import settings
from nsfw_app.bootstrap import open_store
from nsfw_app.cli.operator import operator
from nsfw_app.records import SHA256_PATTERN


def purge(
    image: Annotated[
        str | None,
        typer.Option(help="SHA-256 of one image whose previews are deleted, due or not."),
    ] = None,
) -> None:
    """Delete previews that are no longer needed, or those of one image.

    Scores and decisions stay.
    """
    purges = open_store(settings.load()).purges
    if image is None:
        typer.echo(f"{purges.run(actor=operator())} previews deleted.")
        return
    if not re.fullmatch(SHA256_PATTERN, image.lower()):
        raise typer.BadParameter(f"'{image}' is not a SHA-256 of 64 hexadecimal digits.")
    if not purges.purge(image.lower(), actor=operator()):
        typer.echo(f"No image {image} is stored.", err=True)
        raise typer.Exit(1)
    typer.echo(f"The previews of {image} are deleted. Its scores and decisions stay.")
