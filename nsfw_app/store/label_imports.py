"""Labels from elsewhere, recorded as decisions of a named source.

- A source is a reviewer whose name no person can have, because it has a colon.
- Its decisions neither open nor settle queue entries, and are no labels of the evidence: nothing
  is known of how they were made, or of whether the images were chosen by their score.
- They are no misclassifications, and no agreement or workload of reviewers. They settle an image
  for training sets and filters, as long as no reviewer has decided on it, also while it waits.
- An image that is not stored has no prediction to decide about. Its label is kept by its hash, and
  settles it for filters of scans until there is a decision.
- All labels of an import are recorded in one transaction, or none. `import_plan` looks up before it
  what they change. Imported again, the same labels change nothing; a changed label replaces the
  earlier one for each model for which it stands.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlite_utils import Database

from nsfw_app.records import IMPORT_PREFIX, Label
from nsfw_app.store.audit import AuditAction, note
from nsfw_app.store.connections import Connections, now
from nsfw_app.store.import_plan import PENDING, ImportPlan

# Whether a row's decision was imported.
IMPORTED = f"{{row}}.reviewer glob '{IMPORT_PREFIX}*'"
# Predictions that have standing decisions, and none of them is a reviewer's.
IMPORTED_ONLY = f"""
select s.prediction_id from standing_decisions s
where {IMPORTED.format(row="s")} and not exists (
  select 1 from standing_decisions r
  where r.prediction_id = s.prediction_id and not {IMPORTED.format(row="r")}
)
"""
# Whether an outcome is settled: its image does not wait, or no reviewer has decided yet.
SETTLED_OUTCOME = f"({{outcome}}.waiting = 0 or {{outcome}}.prediction_id in ({IMPORTED_ONLY}))"
# Whether a reviewer decided on another prediction of an image whose outcome was imported.
OVERRULED = f"""
{{outcome}}.prediction_id in ({IMPORTED_ONLY}) and exists (
  select 1 from predictions same join standing_decisions r on r.prediction_id = same.id
  where same.image_sha256 = {{prediction}}.image_sha256 and not {IMPORTED.format(row="r")}
)
"""
# Whether a reviewer decided on an image, and whether it waits for one.
DECIDED = f"""
select 1 from predictions p join standing_decisions s on s.prediction_id = p.id
where p.image_sha256 = ? and not {IMPORTED.format(row="s")} limit 1
"""
WAITING = """
select 1 from predictions p join queue q on q.prediction_id = p.id
where p.image_sha256 = ? and q.settled_at is null limit 1
"""
# The labels of images that were not stored, where none was decided about since.
UNSTORED = """
select u.image_sha256, u.source, u.label from unstored_labels u
where not exists (
  select 1 from unstored_labels later
  where later.image_sha256 = u.image_sha256 and later.source = u.source and later.id > u.id
) and not exists (
  select 1 from predictions p join standing_decisions s on s.prediction_id = p.id
  where p.image_sha256 = u.image_sha256
)
"""
# The predictions of an image, and the label that stands of a source: the ones with a label first,
# then the latest.
TARGETS = """
select p.id, p.model, p.nsfw_score,
  coalesce((
    select u.name from uploads u where u.image_sha256 = p.image_sha256
    order by u.queues desc, u.id limit 1
  ), p.image_sha256) as name,
  coalesce((
    select u.source from uploads u where u.image_sha256 = p.image_sha256
    order by u.queues desc, u.id limit 1
  ), '') as source,
  s.label as standing,
  (
    select count(*) from decisions d where d.prediction_id = p.id and d.reviewer = :reviewer
  ) as made
from predictions p
  left join standing_decisions s on s.prediction_id = p.id and s.reviewer = :reviewer
where p.image_sha256 = :image order by s.label is null, p.id desc
"""


@dataclass(frozen=True, slots=True)
class Recorded:
    """How many labels were recorded, stood already, or belong to a restricted image."""

    added: int = 0
    unchanged: int = 0
    restricted: int = 0


class LabelImports:
    """Finds images by name, and records labels of sources."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def known(self, hashes: Iterable[str]) -> set[str]:
        """Those of these hashes that are of images with a prediction."""
        return self._such("select 1 from predictions where image_sha256 = ?", hashes)

    def decided(self, hashes: Iterable[str]) -> set[str]:
        """Those of these hashes that are of images on which a reviewer decided."""
        return self._such(DECIDED, hashes)

    def waiting(self, hashes: Iterable[str]) -> set[str]:
        """Those of these hashes that are of images in the queue."""
        return self._such(WAITING, hashes)

    def unstored(self) -> dict[str, Label]:
        """The labels of images that were not stored, by hash, where all sources agree."""
        rows = self._connections.db.execute(
            f"""
            select image_sha256, min(label) from ({UNSTORED})
            group by image_sha256 having min(label) = max(label)
            """
        )
        return {row[0]: Label(row[1]) for row in rows}

    def unstored_differing(self) -> set[str]:
        """The hashes of images that were not stored, of which sources give different labels."""
        rows = self._connections.db.execute(
            f"""
            select image_sha256 from ({UNSTORED})
            group by image_sha256 having min(label) <> max(label)
            """
        )
        return {row[0] for row in rows}

    def _such(self, query: str, hashes: Iterable[str]) -> set[str]:
        db = self._connections.db
        return {sha256 for sha256 in hashes if db.execute(query, (sha256,)).fetchone()}

    def by_name(self) -> dict[str, set[str]]:
        """The hashes of the images that were uploaded under each name."""
        found: dict[str, set[str]] = {}
        rows = self._connections.db.execute(
            """
            select distinct u.name, u.image_sha256 from uploads u
              join predictions p on p.image_sha256 = u.image_sha256
            """
        )
        for name, sha256 in rows:
            found.setdefault(name, set()).add(sha256)
        return found

    def record(
        self,
        labels: Mapping[str, Label],
        source: str,
        *,
        threshold_of: Callable[[str], float],
        actor: str,
    ) -> Recorded:
        """Record the labels of images, by hash, stored or not, and audit it.

        Labels that other sources have of an image that is stored by now become decisions, too.

        Args:
            labels: The label of each image.
            source: The name of the source.
            threshold_of: The threshold in force for a model, with which its label is compared.
            actor: Who imports them.
        """
        plan = ImportPlan(self._connections, labels, source)
        with self._connections.writing() as db:
            plan.refresh(db)
            restricted = plan.restricted(db)
            added = plan.add_unstored(db, now())
            for image, label in plan.decided(db):
                for other, earlier in _pending(db, image, source):
                    _decide_all(db, image, earlier, other, threshold_of)
                added += _decide_all(db, image, label, source, threshold_of)
            note(db, actor, AuditAction.IMPORT, source, labels=added)
        plan.close()
        return Recorded(added, len(labels) - added - restricted, restricted)


def _pending(db: Database, image: str, source: str) -> list[tuple[str, Label]]:
    """The labels of other sources that become decisions with that of this one."""
    values = {"image": image, "source": source}
    rows = db.execute(PENDING.format(image=":image"), values).fetchall()
    return [(other, Label(label)) for other, label in rows]


def _decide_all(
    db: Database, image: str, label: Label, source: str, threshold_of: Callable[[str], float]
) -> bool:
    """Decide on an image that is stored; return whether the label did not stand already.

    A label is replaced where it stands, also if other models have seen the image since.
    """
    reviewer = IMPORT_PREFIX + source
    rows = db.execute(TARGETS, {"image": image, "reviewer": reviewer}).fetchall()
    targets = [row for row in rows if row["standing"]] or rows[:1]
    changed = [row for row in targets if row["standing"] != label]
    for row in changed:
        _decide(db, row, label, reviewer, threshold_of(row["model"]))
    return bool(changed)


def _decide(db: Database, row: Any, label: Label, reviewer: str, threshold: float) -> None:
    """Add a decision about a prediction of `TARGETS`."""
    text = f"{reviewer} {row['id']} {label} {row['made']}"
    db.execute(
        """
        insert into decisions
          (nonce, decided_at, reviewer, prediction_id, name, source, threshold, model_label,
           label, reasons, note, batch_id, warnings)
        values (?, ?, ?, ?, ?, ?, ?, ?, ?, '[]', '', ?, '[]')
        """,
        (
            hashlib.sha256(text.encode()).hexdigest(),
            now(),
            reviewer,
            row["id"],
            row["name"],
            row["source"],
            threshold,
            Label.NSFW if row["nsfw_score"] >= threshold else Label.NORMAL,
            label,
            reviewer,
        ),
    )
