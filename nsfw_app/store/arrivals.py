"""Images as they arrive: with which probability the queue rules draw them, and who was drawn.

- A prediction arrives once, with the first upload whose owner may put images into the queue.
- The label of a drawn image is the one that its queue entry settled on.
"""

from dataclasses import dataclass

from sqlite_utils import Database

from nsfw_app.rules.queue import Admission
from nsfw_app.store.connections import now


@dataclass(frozen=True, slots=True)
class Arrival:
    """How an image arrives.

    - `admission` is what the queue rules say of it, under `policy_version`.
    - `source` is where it came from.
    """

    admission: Admission
    source: str
    policy_version: int = 0


def add_arrival(db: Database, prediction_id: int, arrival: Arrival) -> None:
    """Store that a prediction's image arrived, unless it did before. Runs in a transaction."""
    admission = arrival.admission
    db.execute(
        """
        insert into arrivals
          (prediction_id, arrived_at, source, probability, drawn, policy_version)
        values (?, ?, ?, ?, ?, ?) on conflict do nothing
        """,
        (
            prediction_id,
            now(),
            arrival.source,
            admission.probability,
            admission.draw_probability is not None,
            arrival.policy_version,
        ),
    )
