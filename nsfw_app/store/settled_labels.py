"""Settled labels of images, with the scores that models gave them."""

from dataclasses import dataclass

from nsfw_app.records import Label, ModelIdentity
from nsfw_app.store.connections import Connections
from nsfw_app.store.label_imports import OVERRULED, SETTLED_OUTCOME

# An image whose predictions are settled with different labels has none.
SETTLED = f"""
select p.image_sha256, min(o.label) as label,
  coalesce((
    select u.source from uploads u where u.image_sha256 = p.image_sha256
    order by u.queues desc, u.id limit 1
  ), '') as source,
  coalesce((
    select q.reason from queue q join predictions same on same.id = q.prediction_id
    where same.image_sha256 = p.image_sha256 order by q.id limit 1
  ), '') as queue_reason
from outcomes o join predictions p on p.id = o.prediction_id
where {SETTLED_OUTCOME.format(outcome="o")} and o.label in ('{Label.NSFW}', '{Label.NORMAL}')
  and not ({OVERRULED.format(outcome="o", prediction="p")})
group by p.image_sha256 having min(o.label) = max(o.label)
"""


@dataclass(frozen=True, slots=True)
class SettledImage:
    """An image with a settled label; `queue_reason` is empty where it was never in the queue."""

    image_sha256: str
    label: Label
    source: str
    queue_reason: str


class SettledLabels:
    """Reads settled labels, and the stored scores of their images."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def all(self) -> list[SettledImage]:
        """Every image with one settled label, in order of its hash."""
        rows = self._connections.db.execute(f"{SETTLED} order by p.image_sha256")
        return [SettledImage(row[0], Label(row[1]), row[2], row[3]) for row in rows]

    def scores(self, identity: ModelIdentity) -> dict[str, float]:
        """The scores of settled images by a model, by the image's hash."""
        rows = self._connections.db.execute(
            f"""
            select p.image_sha256, p.nsfw_score from ({SETTLED}) s
              join predictions p on p.image_sha256 = s.image_sha256
            where p.model = ? and p.revision = ? and p.weights_sha256 = ? and p.backend = ?
            """,
            (identity.model, identity.revision, identity.weights_sha256, identity.backend),
        )
        return {row[0]: row[1] for row in rows}

    def models(self) -> list[tuple[ModelIdentity, int]]:
        """Models with scores of settled images, and of how many, the most first."""
        rows = self._connections.db.execute(
            f"""
            select p.model, p.revision, p.weights_sha256, p.backend, count(*) as images
            from ({SETTLED}) s join predictions p on p.image_sha256 = s.image_sha256
            group by 1, 2, 3, 4 order by images desc, 1, 2, 3, 4
            """
        )
        return [(ModelIdentity(*row[:4]), row[4]) for row in rows]
