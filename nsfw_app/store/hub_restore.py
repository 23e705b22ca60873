"""Fills an empty database with rows that were saved in a dataset repository.

- Files are staged from the latest to the earliest: the first row of a key is the one in force.
- They are inserted in one transaction, in an order in which each row finds those it refers to.
  Triggers derive all other rows from them.
- A user has no password afterwards. Who was disabled stays disabled.
"""

import base64
import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlite_utils import Database

from nsfw_app.dataset_errors import HubDataError
from nsfw_app.store.connections import Connections, Durability
from nsfw_app.store.identities import NO_PASSWORD
from nsfw_app.store.migrations.hub_tables import KEYS
from nsfw_app.store.previews import PreviewFiles

PLACEHOLDER = "placeholder"  # of an image, base64 in a saved row
STAGING = """
create temp table staged (
  source text not null, key text not null, saved text, primary key (source, key)
) without rowid
"""
# Rows are restored with the key as the order in which they were added.
ORDERED = "select saved from staged where source = ? and saved is not null"


WAITING = """
select p.image_sha256 from queue q join predictions p on p.id = q.prediction_id
where q.settled_at is null
"""


@dataclass(frozen=True, slots=True)
class SavedRow:
    """A row as it was saved: None where it was deleted."""

    table: str
    key: str
    row: str | None


class HubRestore:
    """Stages rows and inserts them.

    Args:
        connections: A database without images and decisions.
        previews: The preview files.
    """

    def __init__(self, connections: Connections, previews: PreviewFiles) -> None:
        self._connections = connections
        self._previews = previews

    def begin(self) -> None:
        """Make room for staged rows."""
        self._connections.db.execute(STAGING)

    def stage(self, rows: Sequence[SavedRow]) -> list[bool]:
        """Stage rows of a file; files that were saved last come first.

        Returns:
            Of each row whether it is the one in force: no later file has its key.

        Raises:
            HubDataError: A newer version saved it.
        """
        in_force = []
        with self._connections.writing(Durability.CRASH) as db:
            for row in rows:
                if row.table not in KEYS:
                    raise _newer(f"rows of '{row.table}'")
                sql = "insert or ignore into staged values (?, ?, ?) returning 1"
                added = db.execute(sql, (row.table, row.key, row.row)).fetchone()
                in_force.append(added is not None)
        return in_force

    def add_preview(self, image_sha256: str, jpeg: bytes) -> None:
        """Write the preview of an image."""
        self._previews.add(image_sha256, jpeg)

    def finish(self) -> dict[str, int]:
        """Insert the staged rows, all or none; return how many of each table.

        Raises:
            HubDataError: A newer version saved them, or they contradict each other.
        """
        try:
            with self._connections.writing() as db:
                counts = {table: _insert(db, table) for table in KEYS}
        except sqlite3.IntegrityError as error:
            raise HubDataError(
                f"Saved rows contradict each other, so nothing was restored: {error}."
            ) from error
        self._connections.db.execute("drop table staged")
        return counts

    def waiting_without_preview(self) -> int:
        """Number of open queue entries whose image has no preview file."""
        rows = self._connections.db.execute(WAITING)
        return sum(not self._previews.has(row["image_sha256"]) for row in rows)

    def users_without_password(self) -> list[str]:
        """Names of enabled users who signed in with a password, which was not saved."""
        rows = self._connections.db.execute(
            "select name from users where issuer is null and disabled_at is null "
            "and password_hash = ? order by name",
            (NO_PASSWORD,),
        )
        return [row["name"] for row in rows]


def _insert(db: Database, table: str) -> int:
    columns = [row["name"] for row in db.execute(f"pragma table_info({table})").fetchall()]
    order = ", ".join(f"json_extract(key, '$[{number}]')" for number in range(len(KEYS[table])))
    count = 0
    for (saved,) in db.execute(f"{ORDERED} order by {order}", (table,)):
        row = json.loads(saved)
        if unknown := row.keys() - set(columns):
            raise _newer(f"the column '{min(unknown)}' of '{table}'")
        if table == "images":
            row[PLACEHOLDER] = base64.b64decode(row.get(PLACEHOLDER, ""))
        if table == "users":
            row["password_hash"] = NO_PASSWORD
        _insert_row(db, table, row)
        count += 1
    return count


def _insert_row(db: Database, table: str, row: Mapping[str, Any]) -> None:
    # The decision of a restricted image has added its row already.
    verb = "insert or replace" if table == "restricted_images" else "insert"
    marks = ", ".join("?" * len(row))
    db.execute(f"{verb} into {table} ({', '.join(row)}) values ({marks})", tuple(row.values()))


def _newer(what: str) -> HubDataError:
    return HubDataError(
        f"The repository has {what}, which this version does not know: a newer version of the "
        "program saved them. Start that version."
    )
