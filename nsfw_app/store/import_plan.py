"""What the labels of an import change, looked up before the import takes the write lock.

- The labels are in a temporary table of the connection. Nothing is locked while it is filled, so
  that others write to the database during an import of millions.
- What others added in that time is looked up again under the lock, for the images concerned only.
- Images are in the order of their hashes, in which indexes by hash are read and written fastest.
"""

import json
from collections.abc import Mapping
from enum import StrEnum

from sqlite_utils import Database

from nsfw_app.records import IMPORT_PREFIX, Label
from nsfw_app.store.connections import Connections
from nsfw_app.store.restrictions import RESTRICTED

AT_ONCE = 5_000  # labels that are looked up in one transaction, which only reads the database

TABLE = """
create temp table planned_labels (
  image_sha256 text primary key,
  number integer not null,
  label text not null,
  change text not null
) without rowid
"""
# The labels of other sources for an image that was not stored then. They become decisions with the
# first one, which may differ: labels without a decision do not count from then on.
PENDING = f"""
select u.source, u.label from unstored_labels u
where u.image_sha256 = {{image}} and u.source <> :source and not exists (
  select 1 from unstored_labels later
  where later.image_sha256 = u.image_sha256 and later.source = u.source and later.id > u.id
) and not exists (
  select 1 from predictions p join decisions d on d.prediction_id = p.id
  where p.image_sha256 = u.image_sha256 and d.reviewer = '{IMPORT_PREFIX}' || u.source
)
"""
# What the label of the row `i` changes.
CHANGE = f"""
case
  when not exists (select 1 from predictions p where p.image_sha256 = i.image_sha256)
    then iif(i.label is (
      select u.label from unstored_labels u
      where u.image_sha256 = i.image_sha256 and u.source = :source order by u.id desc limit 1
    ), 'nothing', 'unstored')
  when {RESTRICTED.format(image="i.image_sha256")} then 'restricted'
  when (
    select min(s.label) = i.label and max(s.label) = i.label
    from predictions p join standing_decisions s on s.prediction_id = p.id
    where p.image_sha256 = i.image_sha256 and s.reviewer = '{IMPORT_PREFIX}' || :source
  ) and not exists ({PENDING.format(image="i.image_sha256")}) then 'nothing'
  else 'decisions'
end
"""
ADD = f"""
insert into planned_labels select i.image_sha256, i.number, i.label, {CHANGE}
from (
  select json_extract(value, '$[0]') as image_sha256, json_extract(value, '$[1]') as number,
    json_extract(value, '$[2]') as label
  from json_each(:labels)
) i
"""
LATEST = """
select (select coalesce(max(id), 0) from predictions) as prediction,
  (select coalesce(max(id), 0) from unstored_labels) as label,
  (select coalesce(max(id), 0) from decisions) as decision
"""
# Look up again what the labels of images change about which something was added since `LATEST`.
REFRESH = f"""
update planned_labels as i set change = {CHANGE}
where i.image_sha256 in (
  select image_sha256 from predictions where id > :prediction
  union select image_sha256 from unstored_labels where id > :label
  union select p.image_sha256 from decisions d join predictions p on p.id = d.prediction_id
    where d.id > :decision
  union select image_sha256 from restricted_images
)
"""


class Change(StrEnum):
    """What a label changes."""

    NOTHING = "nothing"  # it is recorded already
    UNSTORED = "unstored"  # the label of an image that is not stored
    DECISIONS = "decisions"  # the decisions of a source about an image, or of several
    RESTRICTED = "restricted"  # nothing, because the image is restricted


class ImportPlan:
    """The labels of an import, by what they change.

    Args:
        connections: The database.
        labels: The label of each image, by hash.
        source: The source of the labels.
    """

    def __init__(self, connections: Connections, labels: Mapping[str, Label], source: str) -> None:
        self._connections = connections
        db = connections.db
        db.execute("drop table if exists temp.planned_labels")
        db.execute(TABLE)
        self._source = source
        self._latest = dict(connections.row(LATEST))
        images = sorted((image, number) for number, image in enumerate(labels))
        for start in range(0, len(images), AT_ONCE):
            some = images[start : start + AT_ONCE]
            with connections.preparing() as db:
                rows = json.dumps([(image, number, labels[image]) for image, number in some])
                db.execute(ADD, {"labels": rows, "source": source})

    def refresh(self, db: Database) -> None:
        """Look up what others changed since, within a transaction that may write."""
        db.execute(REFRESH, {"source": self._source, **self._latest})

    def restricted(self, db: Database) -> int:
        """How many labels are of restricted images."""
        sql = "select count(*) from planned_labels where change = ?"
        return int(db.execute(sql, (Change.RESTRICTED,)).fetchone()[0])

    def decided(self, db: Database) -> list[tuple[str, Label]]:
        """The images whose labels change decisions, in the order of the import."""
        rows = db.execute(
            "select image_sha256, label from planned_labels where change = ? order by number",
            (Change.DECISIONS,),
        ).fetchall()
        return [(image, Label(label)) for image, label in rows]

    def add_unstored(self, db: Database, recorded_at: str) -> int:
        """Record the labels of images that are not stored; return how many."""
        added = db.execute(
            """
            insert into unstored_labels (image_sha256, source, label, recorded_at)
            select image_sha256, ?, label, ? from planned_labels
            where change = ? order by image_sha256
            """,
            (self._source, recorded_at, Change.UNSTORED),
        )
        return added.rowcount

    def close(self) -> None:
        """Delete it; a transaction that failed leaves it to the next import."""
        self._connections.db.execute("drop table temp.planned_labels")
