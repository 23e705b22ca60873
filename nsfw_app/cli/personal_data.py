"""`personal-data`: subject access and erasure, of a user or of an image."""

import json
import re
from typing import Annotated

import typer

from nsfw_app import settings
from nsfw_app.bootstrap import open_existing_store
from nsfw_app.cli.operator import operator
from nsfw_app.records import SHA256_PATTERN
from nsfw_app.store.audit import AuditAction

personal_data = typer.Typer(
    help="Show or erase what is stored about a user or an image.", no_args_is_help=True
)
Person = Annotated[str | None, typer.Option(help="Name of a user.")]
Image = Annotated[str | None, typer.Option(help="SHA-256 of an image.")]


@personal_data.command()
def show(person: Person = None, image: Image = None) -> None:
    """Print every row about a user or an image as JSON Lines, without password hashes."""
    subject = _subject(person, image)
    store = open_existing_store(settings.load())
    found = store.personal_data
    rows = found.of_image(subject) if image else found.of_person(subject)
    for row in list(rows):
        typer.echo(json.dumps({"table": row.table, **row.values}))
    store.audit.add(operator(), AuditAction.EXPORT, "personal data")


@personal_data.command()
def erase(person: Person = None, image: Image = None) -> None:
    """Erase a user or an image; labels and scores stay, as evidence that names no one.

    A user's account is deleted and their name replaced everywhere. An image's preview, the names
    of its files and the notes about it are deleted. Backups are not changed.
    """
    subject = _subject(person, image)
    store = open_existing_store(settings.load())
    if image:
        store.purges.purge(subject, actor=operator())
        store.personal_data.erase_image(subject, actor=operator())
        typer.echo(f"Preview, names and notes of {subject} are erased. Its scores stay.")
    else:
        new = store.personal_data.erase_person(subject, actor=operator())
        typer.echo(f"{subject} is erased; their decisions are those of {new} now.")
    typer.echo("Backups and snapshots still have the data: delete those that do.", err=True)


def _subject(person: str | None, image: str | None) -> str:
    if bool(person) == bool(image):
        raise typer.BadParameter("Name either --person or --image.")
    if image is None:
        return str(person)
    if not re.fullmatch(SHA256_PATTERN, image.lower()):
        raise typer.BadParameter(f"'{image}' is not a SHA-256 of 64 hexadecimal digits.")
    return image.lower()
