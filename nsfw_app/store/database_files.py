"""Database files that no store has open: what they have, whether they are sound, their upgrade."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sqlite_utils import Database

from nsfw_app.errors import StorageError, StorageErrorKind
from nsfw_app.store.connections import Connections
from nsfw_app.store.hub_changes import forget_all
from nsfw_app.store.migrations import applied_steps, migrations, unknown_steps
from nsfw_app.store.sessions import end_sessions
from nsfw_app.store.sqlite_errors import storage_error

COUNTED = ("images", "predictions", "decisions", "users", "api_keys", "audit")
RESTORE = "restore"  # who ends the sessions, in the audit
MAX_DAMAGES = 20  # lines of SQLite's check that are reported
# Without SQLite's own tables, and those of Litestream, which replicates a database.
SCHEMA = """
select name, sql from sqlite_master
where name not like 'sqlite\\_%' escape '\\' and name not like '\\_litestream\\_%' escape '\\'
"""
CODE = "select name, sql from sqlite_master where type in ('trigger', 'view')"


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    """What a database has.

    - `steps` are its migrations, in order; `unknown_steps` those that this version lacks.
    - `counts` are numbers of rows by table; a table that its version lacks is left out.
    - `previews` are the SHA-256 of the images that have a preview.
    """

    steps: tuple[str, ...]
    unknown_steps: tuple[str, ...]
    counts: Mapping[str, int]
    previews: tuple[str, ...]


def read_facts(path: Path) -> DatabaseFacts:
    """Read what a database has, without changing it.

    Raises:
        StorageError: It cannot be read, or it is not a database of this program.
    """
    with closing(_reader(path)) as connection:
        try:
            db = Database(connection)
            tables = set(db.table_names())
            if "images" not in tables:  # as where it is a view, which may never end
                raise StorageError(StorageErrorKind.CORRUPT)
            counts = {
                table: connection.execute(f"select count(*) from {table}").fetchone()[0]
                for table in COUNTED
                if table in tables
            }
            previews = connection.execute("select sha256 from images where placeholder <> x''")
            return DatabaseFacts(
                tuple(applied_steps(db)),
                tuple(unknown_steps(db)),
                counts,
                tuple(sha256 for (sha256,) in previews),
            )
        except sqlite3.Error as error:
            found = storage_error(error, path)
            raise found or StorageError(StorageErrorKind.CORRUPT) from error


def damages(path: Path) -> list[str]:
    """What SQLite finds wrong with a database: its pages, its indexes, references between rows.

    Returns:
        A line for each, at most `MAX_DAMAGES` of either kind; none for a sound one.

    Raises:
        StorageError: It cannot be read.
    """
    with closing(_reader(path)) as connection:
        try:
            lines = connection.execute(f"pragma integrity_check({MAX_DAMAGES})").fetchall()
            found = [str(line) for (line,) in lines if line != "ok"]
            for table, row, parent, _ in connection.execute("pragma foreign_key_check").fetchmany(
                MAX_DAMAGES
            ):
                found.append(f"row {row} of {table} refers to a missing row of {parent}")
        except sqlite3.DatabaseError as error:
            if (storage := storage_error(error, path)) is None:
                raise
            if storage.reason is not StorageErrorKind.CORRUPT:
                raise storage from error
            found = [str(error)]
    return found


def upgrade_copy(path: Path) -> None:
    """Apply the migrations that a copy of a database lacks, and forget what has ended since.

    - A copy is older than what its server has saved in a dataset repository since: it begins a
      history of its own there.
    - A session that was ended since would be valid again, so all of them end.

    Raises:
        DatabaseTooNew: A newer version has changed it.
        StorageError: It cannot be read or written.
    """
    connections = Connections(path, journal_mode="delete")
    with connections.writing() as db:
        forget_all(db)
        end_sessions(db, actor=RESTORE)
    connections.close()


def foreign_code(path: Path) -> list[str]:
    """Names of triggers and views that no version of this program has made.

    They would run while the database is read or upgraded.

    Raises:
        StorageError: It cannot be read.
    """
    known: set[tuple[str, str]] = set()
    with closing(Database(memory=True)) as db:
        steps = [step.name for step in migrations.pending(db)]
        for number in range(len(steps)):
            migrations.apply(db, stop_before=steps[number + 1 :])
            known |= {tuple(row) for row in db.execute(CODE).fetchall()}
    with closing(_reader(path)) as connection:
        try:
            found = connection.execute(CODE).fetchall()
        except sqlite3.Error as error:
            kind = storage_error(error, path) or StorageError(StorageErrorKind.CORRUPT)
            raise kind from error
    return sorted(name for name, sql in found if (name, sql) not in known)


def schema_differences(path: Path) -> list[str]:
    """Names of tables, indexes, views and triggers that are not those of this version."""
    with closing(_reader(path)) as connection:
        found = dict(connection.execute(SCHEMA).fetchall())
    with closing(Database(memory=True)) as expected:
        migrations.apply(expected)
        wanted = dict(expected.execute(SCHEMA).fetchall())
    return sorted(name for name in found.keys() | wanted if found.get(name) != wanted.get(name))


def _reader(path: Path) -> sqlite3.Connection:
    """A connection that reads only; views of an unknown file call no functions with effects."""
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        connection.execute("pragma trusted_schema = off")
    except sqlite3.Error as error:
        raise storage_error(error, path) or error from error
    return connection
