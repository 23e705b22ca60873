"""Training labels: settled disagreements that someone confirmed, or set aside."""

from dataclasses import dataclass
from typing import Any

from nsfw_app.errors import NotFound
from nsfw_app.records import Label
from nsfw_app.store.connections import Connections, now

# An image counts once for a model, also when several of its revisions or backends judged it.
ONE_PER_IMAGE = """
select prediction_id, image_sha256, model, nsfw_score, label, error, answers, perceptual_hash,
  confirmed
from (
  select *, row_number() over (
    partition by image_sha256, model order by confirmed is null, prediction_id desc
  ) as place
  from settled_disagreements
)
where place = 1
"""


@dataclass(frozen=True, slots=True)
class Misclassification:
    """A prediction that reviewers settled against the model.

    `error` is how far the score is from the settled label, in [0, 1]. `confirmed` is the training
    label; empty when set aside, None when nobody has said.
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
    """What becomes of settled disagreements."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def misclassifications(self, *, limit: int) -> list[Misclassification]:
        """Settled disagreements, the most confident errors of the model first.

        Those that somebody has confirmed or set aside come after all others.
        """
        rows = self._connections.db.execute(
            f"{ONE_PER_IMAGE} order by confirmed is not null, error desc, prediction_id limit ?",
            (limit,),
        )
        return [_mistake(row) for row in rows]

    def confirmed(self) -> list[Misclassification]:
        """Every settled disagreement that is confirmed as a training label."""
        rows = self._connections.db.execute(
            f"{ONE_PER_IMAGE} and confirmed <> '' order by prediction_id"
        )
        return [_mistake(row) for row in rows]

    def decide(self, prediction_id: int, label: Label | None, *, reviewer: str) -> None:
        """Confirm a training label, or set a disagreement aside with None. The last word counts.

        Raises:
            NotFound: It is no settled disagreement.
        """
        with self._connections.writing() as db:
            known = db.execute(
                "select 1 from settled_disagreements where prediction_id = ?", (prediction_id,)
            ).fetchone()
            if known is None:
                raise NotFound(f"Prediction {prediction_id} is no settled disagreement.")
            db.execute(
                """
                insert into training_labels (prediction_id, label, decided_by, decided_at)
                values (?, ?, ?, ?)
                """,
                (prediction_id, label, reviewer, now()),
            )


def _mistake(row: Any) -> Misclassification:
    values = dict(row)
    return Misclassification(**{**values, "label": Label(values["label"])})
