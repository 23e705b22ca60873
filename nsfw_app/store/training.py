"""Training labels: misclassifications that a reviewer confirmed, corrected or set aside.

Restricted images are left out.
"""

import json
from dataclasses import dataclass
from typing import Any

from nsfw_app.errors import DecisionRefused, NotFound
from nsfw_app.records import Category, Label, Tab
from nsfw_app.rules.decisions import DecisionRules
from nsfw_app.store.connections import Connections, now
from nsfw_app.store.label_imports import IMPORTED_ONLY
from nsfw_app.store.previews import PreviewFiles
from nsfw_app.store.restrictions import RESTRICTED
from nsfw_app.store.settled_categories import settled_categories

MISCLASSIFIED = f"""
{{row}}.waiting = 0 and {{row}}.label in ('normal', 'nsfw') and {{row}}.label <> {{row}}.model_label
  and {{row}}.prediction_id not in ({IMPORTED_ONLY})
"""
# An image is listed once for a model, also when several of its revisions or backends predicted it:
# with the latest prediction, or the latest that has a training label.
ONE_PER_IMAGE = f"""
select o.prediction_id, p.image_sha256, p.model, o.nsfw_score, o.label, o.error, o.answers,
  i.perceptual_hash, o.confirmed, p.revision, p.backend, i.width, i.height,
  coalesce((
    select u.name from uploads u where u.image_sha256 = p.image_sha256
    order by u.queues desc, u.id limit 1
  ), p.image_sha256) as name,
  (
    select json_group_array(json_object(
      'reasons', json(d.reasons), 'note', d.note, 'categories', json(d.categories)
    ))
    from standing_decisions s join decisions d on d.id = s.decision_id
    where s.prediction_id = o.prediction_id
  ) as decisions
from outcomes o join predictions p on p.id = o.prediction_id
  join images i on i.sha256 = p.image_sha256
where {MISCLASSIFIED.format(row="o")}
  and not {RESTRICTED.format(image="p.image_sha256")} and not exists (
  select 1 from predictions same join outcomes better on better.prediction_id = same.id
  where same.image_sha256 = p.image_sha256 and same.model = p.model
    and {MISCLASSIFIED.format(row="better")}
    and (better.confirmed is null, -better.prediction_id)
      < (o.confirmed is null, -o.prediction_id)
)
"""


@dataclass(frozen=True, slots=True)
class Misclassification:
    """A prediction that reviewers settled against the model.

    - `error` is the distance of the score from the settled label, in [0, 1].
    - `confirmed` is the training label, empty if it was set aside, None if neither.
    - `name` is that for reviewers who did not upload the image.
    - `reasons` and `notes` are those of the standing decisions, each once.
    - `categories` are the settled ones; None where no reviewer was asked.
    """

    prediction_id: int
    image_sha256: str
    model: str
    nsfw_score: float
    label: Label
    error: float
    answers: int
    perceptual_hash: str | None
    confirmed: str | None
    revision: str
    backend: str
    width: int
    height: int
    name: str
    reasons: tuple[str, ...]
    notes: tuple[str, ...]
    categories: tuple[Category, ...] | None


@dataclass(frozen=True, slots=True)
class WithoutLabel:
    """How many misclassifications have no training label to export, by cause."""

    undecided: int
    excluded: int
    restricted: int


class TrainingLabels:
    """Lists misclassifications, and records training labels.

    Args:
        connections: The database.
        previews: The preview files, without which no label can be confirmed.
        rules: Which labels are refused.
    """

    def __init__(
        self, connections: Connections, previews: PreviewFiles, rules: DecisionRules
    ) -> None:
        self._connections = connections
        self._previews = previews
        self._rules = rules

    def misclassifications(self, *, limit: int) -> list[Misclassification]:
        """Misclassifications, those with the largest error first.

        Those that are confirmed or set aside come after all others.
        """
        rows = self._connections.db.execute(
            f"{ONE_PER_IMAGE} order by o.confirmed is not null, o.error desc, o.prediction_id "
            "limit ?",
            (limit,),
        )
        return [_misclassification(row) for row in rows]

    def size(self) -> int:
        """Number of misclassifications."""
        found = self._connections.db.execute(f"select count(*) from ({ONE_PER_IMAGE})")
        return int(found.fetchone()[0])

    def hidden(self) -> int:
        """Number of images with a misclassification that are left out because restricted."""
        found = self._connections.db.execute(
            f"""
            select count(distinct r.image_sha256) from restricted_images r
            join predictions p on p.image_sha256 = r.image_sha256
            join outcomes o on o.prediction_id = p.id
            where r.lifted_at is null and {MISCLASSIFIED.format(row="o")}
            """
        )
        return int(found.fetchone()[0])

    def without_label(self) -> WithoutLabel:
        """What `confirmed` leaves out."""
        row = self._connections.row(
            f"""
            select coalesce(sum(confirmed is null), 0), coalesce(sum(confirmed = ''), 0)
            from ({ONE_PER_IMAGE})
            """
        )
        return WithoutLabel(row[0], row[1], self.hidden())

    def withdraw(self, prediction_id: int, *, reviewer: str) -> None:
        """Leave a prediction without a training label, as before its first one.

        Raises:
            NotFound: It is not a misclassification.
        """
        with self._connections.writing() as db:
            withdrawn = db.execute(
                f"""
                insert into training_labels (prediction_id, decided_by, decided_at, withdrawn)
                select prediction_id, ?, ?, 1 from settled_disagreements
                where prediction_id = ? and prediction_id not in ({IMPORTED_ONLY})
                returning id
                """,
                (reviewer, now(), prediction_id),
            ).fetchall()
            if not withdrawn:
                raise NotFound(f"Prediction {prediction_id} is not a misclassification.")

    def confirmed(self) -> list[Misclassification]:
        """Every misclassification that is confirmed as a training label."""
        rows = self._connections.db.execute(
            f"{ONE_PER_IMAGE} and o.confirmed <> '' order by o.prediction_id"
        )
        return [_misclassification(row) for row in rows]

    def decide(
        self,
        prediction_id: int,
        label: Label | None,
        *,
        reviewer: str,
        seen: bool = False,
        seen_ms: int | None = None,
    ) -> None:
        """Confirm a training label, or set the prediction aside with None. The latest call counts.

        Args:
            prediction_id: A misclassification.
            label: The label; it may differ from the settled one. None says nothing about the
                image, and is recorded whether it was seen or not.
            reviewer: Name of the reviewer.
            seen: The page's word that the reviewer revealed the image.
            seen_ms: For how long in all, in milliseconds.

        Raises:
            NotFound: It is not a misclassification.
            DecisionRefused: The image was not seen, or has no preview any more.
        """
        with self._connections.writing() as db:
            row = db.execute(
                f"""
                select d.image_sha256, exists (
                  select 1 from preview_views v
                  where v.image_sha256 = d.image_sha256 and v.reviewer = ?
                ) as viewed
                from settled_disagreements d where d.prediction_id = ?
                  and d.prediction_id not in ({IMPORTED_ONLY})
                  and not {RESTRICTED.format(image="d.image_sha256")}
                """,
                (reviewer, prediction_id),
            ).fetchone()
            if row is None:
                raise NotFound(f"Prediction {prediction_id} is not a misclassification.")
            seen = seen and bool(row["viewed"])
            viewable = self._previews.has(row["image_sha256"])
            refusal = self._rules.view_refusal(Tab.RELABEL, seen=seen, viewable=viewable)
            if label is not None and refusal:
                raise DecisionRefused(refusal, [row["image_sha256"]])
            # Sent again after its reply was lost, the same label is no second row.
            db.execute(
                """
                insert into training_labels
                  (prediction_id, label, decided_by, decided_at, seen, seen_ms)
                select :prediction, :label, :reviewer, :now, :seen, :seen_ms
                where not exists (
                  select 1 from training_labels t
                  where t.id = (
                      select max(id) from training_labels where prediction_id = :prediction
                    )
                    and t.label is :label and t.decided_by = :reviewer and not t.withdrawn
                )
                """,
                {
                    "prediction": prediction_id,
                    "label": label,
                    "reviewer": reviewer,
                    "now": now(),
                    "seen": seen,
                    "seen_ms": seen_ms,
                },
            )


def _misclassification(row: Any) -> Misclassification:
    values = dict(row)
    decisions = json.loads(values.pop("decisions"))
    named = [made["categories"] for made in decisions if made["categories"] is not None]
    reasons = dict.fromkeys(reason for made in decisions for reason in made["reasons"])
    notes = dict.fromkeys(made["note"] for made in decisions if made["note"])
    return Misclassification(
        **{**values, "label": Label(values["label"])},
        reasons=tuple(reasons),
        notes=tuple(notes),
        categories=settled_categories(named),
    )
