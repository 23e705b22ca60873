"""Labels that reviewers gave to images, settled or not yet, with the scores that models gave them.

An image that is not settled has its provisional label in `reviewed`, and in nothing else here. What
waits for a second decision differs from the model more often, so that without it a model would look
better than it is. An image is not settled, for any model, while a second opinion is requested.
"""

from dataclasses import dataclass

from nsfw_app.records import Label, ModelIdentity
from nsfw_app.store.connections import Connections
from nsfw_app.store.label_imports import OVERRULED, SETTLED_OUTCOME
from nsfw_app.store.provisional_labels import COUNTED, MAJORITY
from nsfw_app.store.second_opinions import UNANSWERED

CONTEXT = """
  coalesce((
    select u.source from uploads u where u.image_sha256 = p.image_sha256
    order by u.queues desc, u.id limit 1
  ), '') as source,
  coalesce((
    select q.reason from queue q join predictions same on same.id = q.prediction_id
    where same.image_sha256 = p.image_sha256 order by q.id limit 1
  ), '') as queue_reason
"""
IS_SETTLED = f"""
{SETTLED_OUTCOME.format(outcome="o")} and o.label in ('{Label.NSFW}', '{Label.NORMAL}')
  and not ({OVERRULED.format(outcome="o", prediction="p")})
  and p.image_sha256 not in ({UNANSWERED})
"""
# An image whose predictions are settled with different labels has none.
SETTLED = f"""
select p.image_sha256, min(o.label) as label, {CONTEXT}
from outcomes o join predictions p on p.id = o.prediction_id
where {IS_SETTLED}
group by p.image_sha256 having min(o.label) = max(o.label)
"""
# Of images without any settled prediction. The model's label is that of the latest decision: SQLite
# takes a bare column from the row with the maximum.
PROVISIONAL = f"""
select image_sha256, label, source, queue_reason from (
  select p.image_sha256, {MAJORITY.format(model_label="s.model_label")} as label, {CONTEXT},
    max(s.decision_id)
  from standing_decisions s join predictions p on p.id = s.prediction_id
  where {COUNTED} and p.image_sha256 not in (
    select p.image_sha256 from outcomes o join predictions p on p.id = o.prediction_id
    where {IS_SETTLED}
  )
  group by p.image_sha256
)
"""
REVIEWED = f"""
select *, 0 as provisional from ({SETTLED}) union all
select *, 1 as provisional from ({PROVISIONAL})
"""


@dataclass(frozen=True, slots=True)
class SettledImage:
    """An image with a label; `queue_reason` is empty where it was never in the queue.

    `provisional` is whether the label is not settled yet.
    """

    image_sha256: str
    label: Label
    source: str
    queue_reason: str
    provisional: bool = False


class SettledLabels:
    """Reads the labels of images, and the stored scores of those that reviewers labeled."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def all(self) -> list[SettledImage]:
        """Every image with one settled label, in order of its hash."""
        rows = self._connections.db.execute(f"{SETTLED} order by p.image_sha256")
        return [SettledImage(row[0], Label(row[1]), row[2], row[3]) for row in rows]

    def reviewed(self) -> list[SettledImage]:
        """Every image with a settled or a provisional label, in order of its hash."""
        rows = self._connections.db.execute(f"{REVIEWED} order by 1")
        return [SettledImage(row[0], Label(row[1]), row[2], row[3], bool(row[4])) for row in rows]

    def scores(self, identity: ModelIdentity) -> dict[str, float]:
        """The scores of reviewed images by a model, by the image's hash."""
        rows = self._connections.db.execute(
            f"""
            select p.image_sha256, p.nsfw_score from ({REVIEWED}) s
              join predictions p on p.image_sha256 = s.image_sha256
            where p.model = ? and p.revision = ? and p.weights_sha256 = ? and p.backend = ?
            """,
            (identity.model, identity.revision, identity.weights_sha256, identity.backend),
        )
        return {row[0]: row[1] for row in rows}

    def models(self) -> list[tuple[ModelIdentity, int]]:
        """Models with scores of reviewed images, and of how many, the most first."""
        rows = self._connections.db.execute(
            f"""
            select p.model, p.revision, p.weights_sha256, p.backend, count(*) as images
            from ({REVIEWED}) s join predictions p on p.image_sha256 = s.image_sha256
            group by 1, 2, 3, 4 order by images desc, 1, 2, 3, 4
            """
        )
        return [(ModelIdentity(*row[:4]), row[4]) for row in rows]
