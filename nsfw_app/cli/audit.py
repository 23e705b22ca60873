"""`audit`: print the audit log."""

import json
from dataclasses import asdict
from datetime import datetime
from typing import Annotated

import typer

from nsfw_app import settings
from nsfw_app.bootstrap import open_store
from nsfw_app.records import utc


def audit(
    since: Annotated[
        datetime | None, typer.Option(help="Only entries from this date on, in UTC.")
    ] = None,
) -> None:
    """Print the audit log: sign-ins, exports, purges, changes of policies, users and keys.

    One JSON object per line, oldest first.
    """
    first = utc(since.isoformat()) if since else ""
    for entry in open_store(settings.load()).audit.entries(since=first):
        typer.echo(json.dumps(asdict(entry)))
