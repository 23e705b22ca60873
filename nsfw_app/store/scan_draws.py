"""Images that were drawn at random from a scan for review, with draw probabilities and labels.

- They did not arrive: the estimates about images that arrive have none of them.
- A batch belongs to the scan that the audit names. One that images of several scans were put into
  belongs to none.
- An image that several draws have, or could have had, has the highest probability of them: what is
  drawn once more is not drawn less often than the images that are new.
- Labels are settled, or provisional, as those of arrivals. What was settled as unsure has none.
- An image that has a label apart from its draw, as an import gives all images of one kind, is
  marked: it says nothing about other images.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from nsfw_app.records import Label, ModelIdentity
from nsfw_app.store.arrivals import LABEL, PROVISIONAL, REVIEWED
from nsfw_app.store.audit import AuditAction
from nsfw_app.store.connections import Connections
from nsfw_app.store.label_imports import IMPORTED

SOURCE = "scan"  # of the uploads
DRAWS = f"""
with batches as (
  select subject from audit where action = '{AuditAction.QUEUE}' group by subject
  having min(json_extract(details, '$.scan')) = :scan
    and max(json_extract(details, '$.scan')) = :scan
),
drawn as (
  select distinct p.id, p.image_sha256, p.nsfw_score
  from uploads u join predictions p on p.image_sha256 = u.image_sha256
  where u.source = '{SOURCE}' and u.batch_id in (select subject from batches)
    and p.model = :model and p.revision = :revision and p.weights_sha256 = :weights_sha256
    and p.backend = :backend
    and not exists (select 1 from arrivals a where a.prediction_id = p.id and a.drawn)
),
l as materialized (
  select d.id as prediction_id, d.image_sha256, d.nsfw_score, q.draw_probability, q.entered_at,
    o.model_label,
    {LABEL} as label,
    o.waiting = 0 and ({REVIEWED}) = '{Label.UNSURE}' as settled_unsure
  from drawn d join queue q on q.id = (
      select max(id) from queue where prediction_id = d.id and draw_probability > 0
    )
    left join outcomes o on o.prediction_id = d.id
)
select l.image_sha256, l.nsfw_score, l.draw_probability, l.label,
  case when l.settled_unsure is not 1 then {PROVISIONAL} end as provisional,
  exists (
    select 1 from standing_decisions s
    where s.prediction_id = l.prediction_id and not {IMPORTED.format(row="s")}
  ) as decided,
  exists (select 1 from unstored_labels u where u.image_sha256 = l.image_sha256) or exists (
    select 1 from predictions same join standing_decisions s on s.prediction_id = same.id
    where same.image_sha256 = l.image_sha256
      and (s.decided_at < l.entered_at or {IMPORTED.format(row="s")})
  ) as labeled_apart
from l order by l.image_sha256
"""

RAISE = """
update queue set draw_probability = :probability
where draw_probability < :probability and id in (
  select max(q.id) from predictions p join queue q on q.prediction_id = p.id
  where p.image_sha256 in (select value from json_each(:images)) and q.draw_probability > 0
    and p.model = :model and p.revision = :revision and p.weights_sha256 = :weights_sha256
    and p.backend = :backend
  group by p.id
)
"""


@dataclass(frozen=True, slots=True)
class ScanDraw:
    """An image that was drawn.

    - `probability` is that of the draw, in (0, 1].
    - `label` is None where no reviewer has said nsfw or normal, and where reviewers settled on
      unsure; `provisional` is whether it is not settled yet.
    - `unsure` is whether it has none although reviewers decided.
    - `labeled_apart` is whether it has an imported label, or a decision from before the draw.
    """

    image_sha256: str
    nsfw_score: float
    probability: float
    label: Label | None
    provisional: bool
    unsure: bool = False
    labeled_apart: bool = False


class ScanDraws:
    """Reads what was drawn from scans."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def of(self, scan: str, model: ModelIdentity) -> list[ScanDraw]:
        """The images that were drawn from a scan, in order of hash.

        Args:
            scan: Its directory, as the audit has it.
            model: Of the scan.
        """
        found = []
        for row in self._connections.db.execute(DRAWS, {"scan": scan, **asdict(model)}):
            label = row["label"] or row["provisional"]
            found.append(
                ScanDraw(
                    row["image_sha256"],
                    row["nsfw_score"],
                    row["draw_probability"],
                    Label(label) if label else None,
                    row["label"] is None and label is not None,
                    label is None and bool(row["decided"]),
                    bool(row["labeled_apart"]),
                )
            )
        return found

    def raise_probabilities(
        self, images: Iterable[str], model: ModelIdentity, probability: float
    ) -> None:
        """Give images that were drawn the probability of a later draw, where it is higher.

        Args:
            images: Hashes of images of `of` among which that draw was.
            model: Of the scan.
            probability: Of that draw, in (0, 1].
        """
        values = {"images": json.dumps([*images]), "probability": probability, **asdict(model)}
        with self._connections.writing() as db:
            db.execute(RAISE, values)
