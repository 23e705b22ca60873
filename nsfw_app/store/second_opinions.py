"""Requests for a second opinion that no settled label has answered.

- A request is open while its queue entry is. One from before requests were stored is known by the
  reason or the priority of its entry.
- An entry that was withdrawn, because its preview was deleted, answers nothing: the request stands
  until the image is settled, for any model, with a later decision of a reviewer.
"""

from nsfw_app.rules.queue import PRIORITIES, QueueReason
from nsfw_app.store.connections import Connections
from nsfw_app.store.label_imports import IMPORTED
from nsfw_app.store.restrictions import RESTRICTED

# Hashes of images with such a request, about a prediction of any model.
UNANSWERED = f"""
select p.image_sha256 from queue q join predictions p on p.id = q.prediction_id
  left join escalations e on e.queue_id = q.id
where q.settled_label is null and (
    e.queue_id is not null or q.reason = '{QueueReason.SECOND_OPINION}'
    or q.priority = {PRIORITIES[QueueReason.SECOND_OPINION]}
  ) and (q.settled_at is null or not exists (
    select 1 from predictions same join outcomes o on o.prediction_id = same.id
      join standing_decisions s on s.prediction_id = same.id
    where same.image_sha256 = p.image_sha256 and o.waiting = 0 and o.label is not null
      and s.decided_at >= coalesce(e.escalated_at, q.entered_at) and not {IMPORTED.format(row="s")}
  ))
"""


class SecondOpinions:
    """Reads for which images a reviewer requested one."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def unanswered(self) -> frozenset[str]:
        """The hashes of images with an unanswered request that are not restricted."""
        rows = self._connections.db.execute(
            f"select distinct image_sha256 from ({UNANSWERED}) "
            f"where not {RESTRICTED.format(image='image_sha256')}"
        )
        return frozenset(row[0] for row in rows)
