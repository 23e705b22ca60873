"""`check`: compare derived tables of the database with their source rows."""

import typer

from nsfw_app import settings
from nsfw_app.bootstrap import open_store


def check() -> None:
    """Check that counts and standing decisions in the database match its decisions."""
    differences = open_store(settings.load()).consistency.check()
    for difference in differences:
        typer.echo(
            f"{difference.table}: {difference.missing} rows missing, "
            f"{difference.surplus} rows too many.",
            err=True,
        )
    if differences:
        raise typer.Exit(1)
    typer.echo("The database is consistent.")
