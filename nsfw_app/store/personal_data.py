"""Personal data: every row about a person or an image, and their erasure.

- A person is a user, whose name is in decisions, labels, leases, the audit and more. Erasing them
  deletes account and sessions and replaces the name by a random one everywhere, so that counts,
  agreement and evidence stay as they are.
- A name is that of a user in any case of its letters, as at the sign-in, whose failures the audit
  has as they were typed.
- An image is known by its SHA-256. Erasing it deletes its preview, its explanations, the names of
  its files and the notes about it. Hash, size, scores and labels stay: they are evidence, and they
  show nothing.
- Decisions and audit are append-only: the triggers that enforce it are dropped and created again
  within the transaction of an erasure, which the audit records under the new name.
"""

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from sqlite_utils import Database

from nsfw_app.errors import NotFound
from nsfw_app.store.audit import AuditAction, note
from nsfw_app.store.connections import Connections
from nsfw_app.store.hub_changes import begin_again

# Columns with names of people, by table. Those of derived tables follow in `_rename_derived`.
PEOPLE: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "users": ("name",),
        "sessions": ("name",),
        "decisions": ("reviewer",),
        "training_labels": ("decided_by",),
        "queue": ("leased_by",),
        "queue_skips": ("reviewer",),
        "escalations": ("reviewer",),
        "not_reviewing": ("reviewer",),
        "preview_views": ("reviewer",),
        "policies": ("author",),
        "calibrations": ("author",),
        "viewing_defaults": ("author",),
        "audit": ("actor", "subject"),
    }
)
# Columns with a kind of sign-in before the name, such as `user:ann`.
OWNERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "sessions": ("owner",),
        "uploads": ("owner",),
        "submissions": ("owner",),
        "audit": ("subject",),
    }
)
OWNED = "(substr({0}, instr({0}, ':') + 1) = :name {1} and {0} not like 'key:%')"
RENAMED = "substr({0}, 1, instr({0}, ':')) || :new"
# Subjects of the audit that are people; others are images, models and keys of any name.
PERSONAL_ACTIONS = (
    AuditAction.USER, AuditAction.LEASE, AuditAction.REVIEWING, AuditAction.SIGN_IN,
    AuditAction.SIGN_IN_FAILED, AuditAction.SIGN_OUT,
)  # fmt: skip
DERIVED_PEOPLE: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"standing_decisions": ("reviewer",), "log_groups": ("reviewer",)}
)
# Columns that list people as hex digits of their names, each followed by a slash, in order of name.
LISTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "queue": ("decided_by",),
        "queue_counts": ("decided_by",),
        "standing_decisions": ("audience",),
        "outcomes": ("audience",),
        "log_groups": ("audience",),
    }
)
# Rows about an image, by table: a condition with its hash as :image.
OF_PREDICTION = "prediction_id in (select id from predictions where image_sha256 = :image)"
IMAGES: Mapping[str, str] = MappingProxyType(
    {
        "images": "sha256 = :image",
        "predictions": "image_sha256 = :image",
        "detail_predictions": "image_sha256 = :image",
        "uploads": "image_sha256 = :image",
        "arrivals": OF_PREDICTION,
        "decisions": OF_PREDICTION,
        "training_labels": OF_PREDICTION,
        "explanations": OF_PREDICTION,
        "queue": OF_PREDICTION,
        "submissions": OF_PREDICTION,
        "preview_views": "image_sha256 = :image",
        "restricted_images": "image_sha256 = :image",
        "unstored_labels": "image_sha256 = :image",
        "hub_previews": "image_sha256 = :image",
        "audit": "subject = :image",
    }
)
# Texts about an image that people wrote or chose.
TEXTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"uploads": ("name",), "submissions": ("name",), "decisions": ("name", "note")}
)
SECRET = ("password_hash", "token_sha256", "id_token", "placeholder")  # left out of what is shown
ERASED = "erased"


@dataclass(frozen=True, slots=True)
class Row:
    """A row with personal data."""

    table: str
    values: Mapping[str, Any]


class PersonalData:
    """Finds and erases rows about a person or an image.

    Args:
        connections: The database.
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def of_person(self, name: str) -> Iterator[Row]:
        """Every row that names a user, read in one transaction, without secrets."""
        with self._connections.reading() as db:
            name = _stored_name(db, name)
            for table in sorted(PEOPLE.keys() | OWNERS.keys()):
                names = [_is_person(table, column) for column in PEOPLE.get(table, ())]
                owners = [_owned(table, column) for column in OWNERS.get(table, ())]
                yield from _rows(db, table, " or ".join(names + owners), {"name": name})

    def of_image(self, image_sha256: str) -> Iterator[Row]:
        """Every row about an image, read in one transaction, without its placeholder."""
        with self._connections.reading() as db:
            for table, condition in IMAGES.items():
                yield from _rows(db, table, condition, {"image": image_sha256})

    def erase_person(self, name: str, *, actor: str) -> str:
        """Delete a user and their sessions, and replace the name everywhere.

        Returns:
            The new name.

        Raises:
            NotFound: No row names the person.
        """
        if next(self.of_person(name), None) is None:
            raise NotFound(f"No row names {name!r}.")
        new = f"{ERASED}-{secrets.token_hex(4)}"
        with self._connections.writing() as db, _without_triggers(db):
            name = _stored_name(db, name)
            values = {"name": name, "new": new}
            db.execute("delete from sessions where name = :name", values)
            db.execute("delete from users where name = :name", values)
            for table, columns in (*PEOPLE.items(), *DERIVED_PEOPLE.items()):
                for column in columns:
                    condition = _is_person(table, column)
                    db.execute(f"update {table} set {column} = :new where {condition}", values)
            for table, columns in OWNERS.items():
                for column in columns:
                    change = f"{column} = {RENAMED.format(column)}"
                    db.execute(f"update {table} set {change} where {_owned(table, column)}", values)
            _rename_derived(db, name, new)
            note(db, actor, AuditAction.ERASE, new, kind="person")
            begin_again(db)  # a restore from what was saved would bring the name back
        self._connections.overwrite_log()
        return new

    def erase_image(self, image_sha256: str, *, actor: str) -> None:
        """Replace the names of an image's files and the notes about it. See `Purges` for previews.

        Raises:
            NotFound: It is not stored.
        """
        values = {"image": image_sha256}
        with self._connections.writing() as db, _without_triggers(db):
            changed = "update images set perceptual_hash = null where sha256 = :image returning 1"
            if not db.execute(changed, values).fetchall():
                raise NotFound(f"No image {image_sha256} is stored.")
            for table, columns in TEXTS.items():
                for column in columns:
                    new = "''" if column == "note" else f"'{ERASED}'"
                    db.execute(f"update {table} set {column} = {new} where {IMAGES[table]}", values)
            db.execute(f"delete from explanations where {OF_PREDICTION}", values)
            note(db, actor, AuditAction.ERASE, image_sha256, kind="image")
            begin_again(db)
        self._connections.overwrite_log()


class _without_triggers:  # noqa: N801  # used like a function
    """Drops all triggers of a database, and creates them again when the block ends well."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def __enter__(self) -> None:
        query = "select name, sql from sqlite_master where type = 'trigger' order by rowid"
        self._triggers = self._db.execute(query).fetchall()
        for name, _ in self._triggers:
            self._db.execute(f"drop trigger {name}")

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:  # else the transaction is rolled back
            for _, sql in self._triggers:
                self._db.execute(sql)


def _stored_name(db: Database, name: str) -> str:
    """The name as the user has it; the given one where no user has it in any case."""
    row = db.execute("select name from users where name = ? collate nocase", (name,)).fetchone()
    return str(row["name"]) if row else name


def _collation(table: str) -> str:
    return "collate nocase" if table == "audit" else ""


def _is_person(table: str, column: str) -> str:
    return _of_person(table, column, f"{column} = :name {_collation(table)}")


def _owned(table: str, column: str) -> str:
    return _of_person(table, column, OWNED.format(column, _collation(table)))


def _of_person(table: str, column: str, condition: str) -> str:
    if (table, column) == ("audit", "subject"):
        actions = ", ".join(f"'{action}'" for action in PERSONAL_ACTIONS)
        return f"({condition} and action in ({actions}))"
    return condition


def _rows(db: Database, table: str, condition: str, values: dict[str, str]) -> Iterator[Row]:
    for row in db.execute(f"select * from {table} where {condition}", values).fetchall():
        yield Row(table, {key: row[key] for key in row.keys() if key not in SECRET})  # noqa: SIM118


def _rename_derived(db: Database, name: str, new: str) -> None:
    for table, columns in LISTS.items():
        for column in columns:
            part = f"{name.encode().hex().upper()}/"
            found = db.execute(
                f"select distinct {column} from {table} where instr('/' || {column}, '/' || ?)",
                (part,),
            )
            for (people,) in found.fetchall():
                db.execute(
                    f"update {table} set {column} = ? where {column} = ?",
                    (_renamed(people, name, new), people),
                )
    pairs = db.execute("select * from pair_tallies where ? in (first, second)", (name,)).fetchall()
    db.execute("delete from pair_tallies where ? in (first, second)", (name,))
    for scope, first, second, first_label, second_label, images in pairs:
        one = (new if first == name else first, first_label)
        other = (new if second == name else second, second_label)
        (first, first_label), (second, second_label) = sorted((one, other), key=_in_order)
        db.execute(
            "insert into pair_tallies values (?, ?, ?, ?, ?, ?)",
            (scope, first, second, first_label, second_label, images),
        )


def _in_order(person: tuple[str, str]) -> bytes:
    return person[0].encode()  # SQLite compares texts by their bytes


def _renamed(people: str, name: str, new: str) -> str:
    names = [bytes.fromhex(part).decode() for part in people.split("/") if part]
    renamed = sorted((new if each == name else each for each in names), key=str.encode)
    return "".join(f"{each.encode().hex().upper()}/" for each in renamed)
