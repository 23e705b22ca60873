"""Images as they arrive: with which probability the queue rules draw them, and who was drawn.

- A prediction arrives once, with the first upload whose owner may put images into the queue.
- The label of a drawn image is the one that its queue entry settled on.
- Until then its standing decisions give it a provisional one. A first decision against the model
  waits where one that agrees settles, so that to leave out what waits would hide the errors.
"""

from dataclasses import dataclass
from typing import NamedTuple

from sqlite_utils import Database

from nsfw_app.records import Label, ModelIdentity
from nsfw_app.rules.queue import Admission
from nsfw_app.store.connections import Connections, now
from nsfw_app.store.label_imports import IMPORTED
from nsfw_app.store.provisional_labels import COUNTED, MAJORITY

# Where labels were imported, the outcome may be theirs: only what reviewers say counts.
REVIEWED = f"""
case when not exists (
  select 1 from standing_decisions s
  where s.prediction_id = o.prediction_id and {IMPORTED.format(row="s")}
) then o.label else coalesce(
  (
    select q.settled_label from queue q where q.prediction_id = o.prediction_id
    order by q.id desc limit 1
  ),
  (
    select min(s.label) from standing_decisions s
    where s.prediction_id = o.prediction_id and not {IMPORTED.format(row="s")}
    having min(s.label) = max(s.label)
  )
) end
"""
LABEL = f"case when o.waiting = 0 then nullif(({REVIEWED}), '{Label.UNSURE}') end"
PROVISIONAL = f"""
case when l.label is null and l.model_label is not null then (
  select {MAJORITY.format(model_label="l.model_label")} from standing_decisions s
  where s.prediction_id = l.prediction_id and {COUNTED} having count(*) > 0
) end
"""


@dataclass(frozen=True, slots=True)
class Arrival:
    """How an image arrives.

    - `admission` is what the queue rules say of it, under `policy_version`.
    - `source` is where it came from.
    """

    admission: Admission
    source: str
    policy_version: int = 0


class ArrivalRow(NamedTuple):
    """A stored arrival; `identity` is a key of `Arrivals.identities`, times are in UTC."""

    arrival_id: int
    prediction_id: int
    identity: int
    arrived_at: str
    source: str
    probability: float
    drawn: int
    nsfw_score: float


class LabelRow(NamedTuple):
    """The settled label of a drawn image, or the provisional one; both None without either."""

    prediction_id: int
    settled: str | None
    provisional: str | None


class Arrivals:
    """Reads arrivals and the labels of those that were drawn."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def after(self, arrival_id: int) -> list[ArrivalRow]:
        """The arrivals after one, in order of arrival; all after 0."""
        rows = self._connections.db.execute(
            """
            select a.id, a.prediction_id, i.id, substr(a.arrived_at, 1, 19), a.source,
              a.probability, a.drawn, p.nsfw_score
            from arrivals a join predictions p on p.id = a.prediction_id
              join model_identities i on i.model = p.model and i.revision = p.revision
                and i.weights_sha256 = p.weights_sha256 and i.backend = p.backend
            where a.id > ? order by a.id
            """,
            (arrival_id,),
        ).fetchall()
        return list(map(ArrivalRow._make, rows))

    def labels(self, *, after_decision: int, after_arrival: int) -> list[LabelRow]:
        """Predictions of drawn images and their labels as they are now.

        Only those that arrived after an arrival, or with decisions after one. The settled label is
        None while the image is not settled, or settled as unsure; the provisional one is None where
        there is a settled one, or where no reviewer has said nsfw or normal.
        """
        rows = self._connections.db.execute(
            f"""
            with l as materialized (
              select a.prediction_id, o.model_label, {LABEL} as label
              from (
                  select prediction_id from decisions where id > :decision
                  union select prediction_id from arrivals where id > :arrival
                ) d
                join arrivals a on a.prediction_id = d.prediction_id
                left join outcomes o on o.prediction_id = d.prediction_id
              where a.drawn
            )
            select prediction_id, label, {PROVISIONAL} from l
            """,
            {"decision": after_decision, "arrival": after_arrival},
        ).fetchall()
        return list(map(LabelRow._make, rows))

    def draw_secret(self) -> str:
        """The secret of this store's draws."""
        return str(self._connections.row("select secret from draw_secret")["secret"])

    def last_arrival(self) -> int:
        """The id of the latest arrival; 0 without any."""
        return int(self._connections.row("select coalesce(max(id), 0) as n from arrivals")["n"])

    def last_decision(self) -> int:
        """The id of the latest decision or undo; 0 without any."""
        return int(self._connections.row("select coalesce(max(id), 0) as n from decisions")["n"])

    def identities(self) -> dict[int, ModelIdentity]:
        """Models that made predictions, by the key that arrivals have."""
        rows = self._connections.db.execute("select * from model_identities").fetchall()
        return {
            row["id"]: ModelIdentity(
                row["model"], row["revision"], row["weights_sha256"], row["backend"]
            )
            for row in rows
        }


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
