"""Training labels: misclassifications that a reviewer confirmed or set aside."""

from dataclasses import dataclass
from typing import Any

from nsfw_app.errors import NotFound
from nsfw_app.records import Label
from nsfw_app.store.connections import Connections, now

MISCLASSIFIED = """
{row}.waiting = 0 and {row}.label in ('normal', 'nsfw') and {row}.label <> {row}.model_label
"""
# An image is listed once for a model, also when several of its revisions or backends predicted it:
# with the latest prediction, or the latest that has a training label.
ONE_PER_IMAGE = f"""
select o.prediction_id, p.image_sha256, p.model, o.nsfw_score, o.label, o.error, o.answers,
  i.perceptual_hash, o.confirmed
from outcomes o join predictions p on p.id = o.prediction_id
  join images i on i.sha256 = p.image_sha256
where {MISCLASSIFIED.format(row="o")} and not exists (
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

    `error` is the distance of the score from the settled label, in [0, 1]. `confirmed` is the
    training label, empty if it was set aside, None if neither.
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


class TrainingLabels:
    """Lists misclassifications, and records training labels."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

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

    def confirmed(self) -> list[Misclassification]:
        """Every misclassification that is confirmed as a training label."""
        rows = self._connections.db.execute(
            f"{ONE_PER_IMAGE} and o.confirmed <> '' order by o.prediction_id"
        )
        return [_misclassification(row) for row in rows]

    def decide(self, prediction_id: int, label: Label | None, *, reviewer: str) -> None:
        """Confirm a training label, or set the prediction aside with None. The latest call counts.

        Raises:
            NotFound: It is not a misclassification.
        """
        with self._connections.writing() as db:
            known = db.execute(
                "select 1 from settled_disagreements where prediction_id = ?", (prediction_id,)
            ).fetchone()
            if known is None:
                raise NotFound(f"Prediction {prediction_id} is not a misclassification.")
            db.execute(
                """
                insert into training_labels (prediction_id, label, decided_by, decided_at)
                values (?, ?, ?, ?)
                """,
                (prediction_id, label, reviewer, now()),
            )


def _misclassification(row: Any) -> Misclassification:
    values = dict(row)
    return Misclassification(**{**values, "label": Label(values["label"])})
