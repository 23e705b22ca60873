"""Rows that changed since they were last saved in a dataset repository.

- Changes are noted by triggers, in the transaction of the change; see `migrations.hub_tables`.
- They are forgotten only after they were saved. A row that changes during a save is noted again.
- Leases, secrets, passwords, sessions and API keys are not saved, nor are previews of restricted
  images.
"""

import json
import sqlite3
import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlite_utils import Database

from nsfw_app.dataset_errors import HubDataError
from nsfw_app.errors import NotFound
from nsfw_app.store.connections import Connections, now
from nsfw_app.store.migrations.hub_tables import KEYS, key_of
from nsfw_app.store.previews import PreviewFiles
from nsfw_app.store.restrictions import is_restricted

# Columns that are left out: of leases, derived ones, passwords, and those that refer to keys.
NOT_SAVED: Mapping[str, frozenset[str]] = {
    "queue": frozenset({"leased_by", "leased_until", "nsfw_score", "decided_by"}),
    "submissions": frozenset({"key_name"}),
    "images": frozenset({"placeholder"}),
    "users": frozenset({"password_hash"}),
}
PREDICTION = """
select image_sha256, model, revision, backend, nsfw_score from predictions where id = ?
"""


@dataclass(frozen=True, slots=True)
class HubWriter:
    """How this database is saved.

    - `repository` and `instance` are those of the settings.
    - `history` names the rows of one database and of those restored from it.
    - `generation` is 1, and one more in each database that is restored from the history.
    - `writer` is another one for each database file; `batch` is the last one that was saved.
    """

    repository: str
    instance: str
    history: str
    generation: int
    writer: str
    batch: int
    previews: bool


@dataclass(frozen=True, slots=True)
class Change:
    """A row as it is now; `row` is None where it was deleted.

    - `prediction` has the image, model and score of the prediction that the row is about.
    - `placeholder` and `preview` are those of an image, where previews are saved and it has one.
    """

    change_id: int
    table: str
    key: str
    row: Mapping[str, Any] | None
    prediction: Mapping[str, Any] = field(default_factory=dict)
    placeholder: bytes = b""
    preview: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """Changes as they were at one moment, those that were noted first.

    - `writer` is how the database was saved at that moment.
    - `is_complete` is whether no more were noted: rows that are restored up to here fit together.
    """

    writer: HubWriter | None
    changes: Sequence[Change]
    is_complete: bool


class HubChanges:
    """Notes, reads and forgets changes.

    Args:
        connections: The database.
        previews: The preview files.
    """

    def __init__(self, connections: Connections, previews: PreviewFiles) -> None:
        self._connections = connections
        self._previews = previews

    def writer(self) -> HubWriter | None:
        """How this database is saved; None where it is not."""
        row = self._connections.row("select * from hub_writer")
        return row and HubWriter(**{**dict(row), "previews": bool(row["previews"])})

    def current_writer(self) -> HubWriter:
        """How this database is saved, once `start` was called.

        Raises:
            HubDataError: Another process has stopped it since.
        """
        writer = self.writer()
        if writer is None:
            raise HubDataError(
                "Another process that uses this data directory runs without NSFW_HUB_DATASET, so "
                "changes are not noted any more. Start all of them with the same settings."
            )
        return writer

    def start(self, repository: str, instance: str, *, previews: bool) -> HubWriter:
        """Note changes from now on, and all rows where the repository has none of them yet."""
        with self._connections.writing() as db:
            writer = self.writer()
            if writer is None or (writer.repository, writer.instance) != (repository, instance):
                _begin(db, repository, instance, previews=previews)
            elif writer.previews != previews:
                db.execute("update hub_writer set previews = ?", (previews,))
                db.execute("delete from hub_changes where source = 'images'")
                _note_all(db, "images")
        return self.current_writer()

    def resume(self, writer: HubWriter, saved: Mapping[str, int], obsolete: Iterable[int]) -> None:
        """Continue the history that this database was restored from.

        Args:
            writer: The history, the last batch of it, and a new writer.
            saved: In which batch the preview of each image is.
            obsolete: Batches that have other previews than these.
        """
        with self._connections.writing() as db:
            forget_all(db)
            db.execute("insert into hub_writer values (?, ?, ?, ?, ?, ?, ?)", astuple(writer))
            for image, batch in saved.items():
                db.execute("insert into hub_previews values (?, ?)", (image, batch))
            for batch in obsolete:
                db.execute("insert or ignore into hub_obsolete values (?)", (batch,))

    def begin_again(self, *, after: str = "") -> None:
        """Save all rows again in another history; see `begin_again` of the module."""
        with self._connections.writing() as db:
            begin_again(db, after=after)

    def stop(self) -> None:
        """Note no more changes, and forget those that were."""
        if self.writer() is not None:
            with self._connections.writing() as db:
                forget_all(db)

    def pending(self) -> int:
        """How many rows changed since they were last saved."""
        return int(self._connections.row("select count(*) as n from hub_changes")["n"])

    def next(self, *, max_rows: int, max_preview_bytes: int) -> ChangeSet:
        """The changes that were noted first, as their rows are now.

        Args:
            max_rows: How many, at most.
            max_preview_bytes: With how many bytes of previews about, at most.
        """
        found: list[Change] = []
        size_bytes = total = 0
        with self._connections.reading() as db:
            writer = self.writer()
            total = self.pending()
            noted = db.execute("select * from hub_changes order by id limit ?", (max_rows,))
            for row in noted.fetchall():
                change = self._change(db, row, previews=writer is not None and writer.previews)
                found.append(change)
                size_bytes += len(change.preview or b"")
                if size_bytes >= max_preview_bytes:
                    break
        return ChangeSet(writer, found, is_complete=len(found) == total)

    def saved(self, writer: HubWriter, batch: int, changes: Sequence[Change]) -> None:
        """Forget changes that were saved as a batch, unless another history began since."""
        with self._connections.writing() as db:
            updated = "update hub_writer set batch = ? where writer = ? returning 1"
            if not db.execute(updated, (batch, writer.writer)).fetchall():
                return
            if changes:
                db.execute("delete from hub_changes where id <= ?", (changes[-1].change_id,))
            for change in changes:
                if change.table == "images":
                    has_preview = change.preview is not None
                    _move_preview(db, json.loads(change.key)[0], batch if has_preview else None)

    def are_noted(self, keys: Iterable[tuple[str, str]]) -> bool:
        """Whether the rows of these tables and keys are all noted as changed."""
        sql = "select 1 from hub_changes where source = ? and key = ?"
        return all(self._connections.row(sql, key) is not None for key in keys)

    def skip_batch(self, writer: HubWriter) -> None:
        """Use up the number of the next batch, of which there is a file; no change is forgotten.

        Previews in that file count as deleted.
        """
        batch = writer.batch + 1
        with self._connections.writing() as db:
            updated = "update hub_writer set batch = ? where writer = ? returning 1"
            if db.execute(updated, (batch, writer.writer)).fetchall():
                db.execute("insert or ignore into hub_obsolete values (?)", (batch,))

    def current_previews(self, first: int, last: int) -> dict[str, int]:
        """Images whose current preview is in a batch of this range, and in which."""
        rows = self._connections.db.execute(
            "select image_sha256, batch from hub_previews where batch between ? and ?",
            (first, last),
        )
        return {row["image_sha256"]: row["batch"] for row in rows}

    def obsolete(self) -> list[int]:
        """Batches that have previews which were deleted since, or saved again."""
        rows = self._connections.db.execute("select batch from hub_obsolete order by batch")
        return [row["batch"] for row in rows]

    def rewritten(self, writer: HubWriter, first: int, last: int, obsolete: Iterable[int]) -> None:
        """Forget that batches of a range were obsolete, unless another history began since.

        Args:
            writer: How the database was saved then.
            first: The first batch.
            last: The last batch.
            obsolete: Those known when the range was rewritten.
        """
        with self._connections.writing() as db:
            known = "select 1 from hub_writer where writer = ?"
            if db.execute(known, (writer.writer,)).fetchone() is None:
                return
            for batch in obsolete:
                if first <= batch <= last:
                    db.execute("delete from hub_obsolete where batch = ?", (batch,))

    def counts(self) -> dict[str, int]:
        """The number of rows of each table that is saved."""
        db = self._connections.db
        return {table: db.execute(f"select count(*) from {table}").fetchone()[0] for table in KEYS}

    def _change(self, db: Database, noted: sqlite3.Row, *, previews: bool) -> Change:
        table, key = noted["source"], noted["key"]
        condition = " and ".join(f"{column} = ?" for column in KEYS[table])
        sql = f"select * from {table} where {condition}"
        row = db.execute(sql, json.loads(key)).fetchone()
        if row is None:
            return Change(noted["id"], table, key, None)
        left_out = NOT_SAVED.get(table, frozenset())
        values = {name: row[name] for name in row.keys() if name not in left_out}  # noqa: SIM118
        prediction: dict[str, Any] = {}
        if "prediction_id" in values:
            prediction = dict(db.execute(PREDICTION, (values["prediction_id"],)).fetchone())
        placeholder, preview = b"", None
        if table == "images" and previews and not is_restricted(db, row["sha256"]):
            preview = self._preview(row["sha256"]) if row["placeholder"] else None
            placeholder = bytes(row["placeholder"]) if preview else b""
        return Change(noted["id"], table, key, values, prediction, placeholder, preview)

    def _preview(self, image_sha256: str) -> bytes | None:
        try:
            return self._previews.get(image_sha256)
        except NotFound:  # deleted since: that is noted, too
            return None


def _move_preview(db: Database, image_sha256: str, batch: int | None) -> None:
    """Note in which batch an image's preview is now, if in any, and the one before as obsolete."""
    image = (image_sha256,)
    before = db.execute("select batch from hub_previews where image_sha256 = ?", image).fetchone()
    if before is not None:
        db.execute("insert or ignore into hub_obsolete values (?)", (before["batch"],))
        db.execute("delete from hub_previews where image_sha256 = ?", image)
    if batch is not None:
        db.execute("insert into hub_previews values (?, ?)", (image_sha256, batch))


def begin_again(db: Database, *, after: str = "") -> None:
    """Save all rows as they are now in another history, where changes are saved at all.

    Args:
        db: The database, in a transaction.
        after: A history; the new one is later than it, and than the one before, by its name.
    """
    row = db.execute("select repository, instance, history, previews from hub_writer").fetchone()
    if row is not None:
        names = row["repository"], row["instance"]
        _begin(db, *names, previews=bool(row["previews"]), after=max(after, row["history"]))


def _begin(
    db: Database, repository: str, instance: str, *, previews: bool, after: str = ""
) -> None:
    forget_all(db)
    new = uuid.uuid4().hex[:8]
    history = f"{_stamp(after)}-{new}"
    values = (repository, instance, history, new, previews)
    db.execute("insert into hub_writer values (?, ?, ?, 1, ?, 0, ?)", values)
    for table in KEYS:
        _note_all(db, table)


def _stamp(after: str) -> str:
    """The time with which the name of a history begins, later than that of another one."""
    time = datetime.fromisoformat(now())
    with suppress(ValueError, OverflowError):  # a directory that people made
        earlier = datetime.strptime(after.partition("Z")[0] + "000+0000", "%Y%m%dT%H%M%S%f%z")
        time = max(time, earlier + timedelta(milliseconds=1))
    return f"{time:%Y%m%dT%H%M%S}{time.microsecond // 1_000:03}Z"


def _note_all(db: Database, table: str) -> None:
    order = ", ".join(KEYS[table])
    db.execute(
        f"insert into hub_changes (source, key) "
        f"select '{table}', {key_of(table, '')} from {table} order by {order}"
    )


def forget_all(db: Database) -> None:
    """Note no more changes, and forget where the database was saved."""
    for table in ("hub_writer", "hub_changes", "hub_previews", "hub_obsolete"):
        db.execute(f"delete from {table}")
