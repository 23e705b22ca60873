"""Rows that changed since they were last saved in a dataset repository, noted by triggers.

- `hub_writer` has one row while a repository is in use, and none otherwise. Without it the triggers
  note nothing.
- A change that is noted again gets a new id, so that rows which change while others are saved are
  saved again.
- Leases, derived columns of the queue and passwords are not saved, so that their changes are not
  noted.
- `hub_previews` is in which batch the current preview of an image was saved; `hub_obsolete` lists
  batches with previews that were deleted since, or saved again.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

# Tables that are saved, in an order in which no row refers to one after it, and their keys.
KEYS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "images": ("sha256",),
        "predictions": ("id",),
        "detail_predictions": ("id",),
        "uploads": ("id",),
        "policies": ("model", "version"),
        "decisions": ("id",),
        "queue": ("id",),
        "queue_skips": ("queue_id", "reviewer"),
        "escalations": ("queue_id", "reviewer"),
        "training_labels": ("id",),
        "audit": ("id",),
        "arrivals": ("id",),
        "calibrations": ("id",),
        "unstored_labels": ("id",),
        "viewing_defaults": ("id",),
        "not_reviewing": ("reviewer",),
        "restricted_images": ("image_sha256",),
        "submissions": ("id",),
        "users": ("name",),
    }
)
LATER = frozenset({"detail_predictions", "users"})  # made, with their triggers, by later migrations
QUEUE_COLUMNS = """prediction_id, reason, priority, adjudicating, answers_wanted, draw_probability,
  entered_at, settled_at, settled_label"""
# Of tables in which other columns change as well: those whose change is noted.
NOTED = {
    "images": "placeholder perceptual_hash warnings incomplete".split(),
    "users": "role disabled_at issuer subject".split(),
}


def note(table: str, key: str) -> str:
    """Note that the row with a key changed; `key` is an SQL expression."""
    return f"""
      delete from hub_changes where source = '{table}' and key = {key};
      insert into hub_changes (source, key) values ('{table}', {key});
    """


def key_of(table: str, row: str) -> str:
    """The key of a row, as a JSON list."""
    columns = ", ".join(f"{row}.{column}" if row else column for column in KEYS[table])
    return f"json_array({columns})"


def _trigger(table: str, event: str, *, of: str = "", condition: str = "true") -> str:
    row = "old" if event == "delete" else "new"
    # Whether a preview is saved depends on whether its image is restricted.
    image = note("images", f"json_array({row}.image_sha256)")
    return f"""
    create trigger {table}_hub_{event} after {event} {of} on {table}
    when exists (select 1 from hub_writer) and ({condition})
    begin
      {note(table, key_of(table, row))}
      {image if table == "restricted_images" else ""}
    end
    """


def triggers(table: str) -> Iterator[str]:
    """What notes changes of a table."""
    changed = " or ".join(f"old.{column} is not new.{column}" for column in NOTED.get(table, ()))
    yield _trigger(table, "insert")
    yield _trigger(
        table,
        "update",
        of=f"of {QUEUE_COLUMNS}" if table == "queue" else "",
        condition=changed or "true",
    )
    yield _trigger(table, "delete")


HUB_TABLES = (
    """
    create table hub_writer (
      repository text not null,
      instance text not null,
      history text not null,
      generation integer not null,
      writer text not null,
      batch integer not null,
      previews integer not null
    )
    """,
    """
    create table hub_changes (
      id integer primary key autoincrement,
      source text not null,
      key text not null,
      unique (source, key)
    )
    """,
    """
    create table hub_previews (
      image_sha256 text primary key,
      batch integer not null
    ) without rowid
    """,
    "create table hub_obsolete (batch integer primary key)",
    *(each for table in KEYS if table not in LATER for each in triggers(table)),
)
