"""Labels of images that people decided about: confirmed in Relabel, settled, and how many agreed.

Restricted images are named, so that near duplicates of them can be left out.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from nsfw_app.records import IMPORT_PREFIX, Category, Label, ModelIdentity
from nsfw_app.store.connections import Connections
from nsfw_app.store.label_imports import IMPORTED, OVERRULED, SETTLED_OUTCOME
from nsfw_app.store.restrictions import RESTRICTED
from nsfw_app.store.settled_categories import NAMED, settled_categories
from nsfw_app.store.training import MISCLASSIFIED, ONE_PER_IMAGE

SETTLED_LABEL = f"""
case when {SETTLED_OUTCOME.format(outcome="o")} and o.label in ('normal', 'nsfw') then o.label end
"""
# An image has a row for each of its models in `ONE_PER_IMAGE`, and an outcome for each prediction:
# where those differ, `lowest` and `highest` do. The prediction is the latest that has decisions.
LABELS = f"""
with corrections as (
  select image_sha256, max(confirmed = '') as set_aside,
    min(nullif(confirmed, '')) as lowest, max(nullif(confirmed, '')) as highest
  from ({ONE_PER_IMAGE}) where confirmed is not null group by image_sha256
),
settled as (
  select p.image_sha256, max(p.id) as prediction_id,
    min({SETTLED_LABEL}) as lowest, max({SETTLED_LABEL}) as highest,
    max({SETTLED_LABEL} <> o.model_label) as against_model,
    max({SETTLED_OUTCOME.format(outcome="o")} and o.label = 'unsure') as is_unsure,
    max(exists (
      select 1 from standing_decisions d where d.prediction_id = p.id and d.label <> 'normal'
    )) as is_doubted
  from outcomes o join predictions p on p.id = o.prediction_id
  where not ({OVERRULED.format(outcome="o", prediction="p")})
  group by p.image_sha256
),
votes as (
  select image_sha256, sum(label = 'normal') as normal, sum(label = 'nsfw') as nsfw,
    sum(label = 'unsure') as unsure
  from image_labels_all l where not {IMPORTED.format(row="l")} group by image_sha256
)
select p.image_sha256, i.perceptual_hash,
  coalesce((
    select u.source from uploads u where u.image_sha256 = p.image_sha256
    order by u.queues desc, u.id limit 1
  ), '') as source,
  c.lowest as correction, c.lowest <> c.highest as corrections_differ,
  coalesce(c.set_aside, 0) as set_aside,
  s.lowest as settled, s.lowest <> s.highest as settled_differ,
  coalesce(s.against_model, 0) as against_model,
  coalesce(s.is_unsure, 0) as is_unsure, s.is_doubted,
  coalesce(v.normal, 0) as normal, coalesce(v.nsfw, 0) as nsfw, coalesce(v.unsure, 0) as unsure,
  case when v.image_sha256 is null then (
    select min(substr(l.reviewer, {len(IMPORT_PREFIX) + 1})) from image_labels_all l
    where l.image_sha256 = p.image_sha256
  ) end as imported_from,
  ({NAMED.format(image="p.image_sha256")}) as named,
  p.model, p.revision, p.weights_sha256, p.backend, p.nsfw_score,
  (
    select d.policy_version from standing_decisions t join decisions d on d.id = t.decision_id
    where t.prediction_id = p.id order by d.id desc limit 1
  ) as policy_version
from settled s join predictions p on p.id = s.prediction_id
  join images i on i.sha256 = p.image_sha256 left join votes v on v.image_sha256 = p.image_sha256
  left join corrections c on c.image_sha256 = p.image_sha256
where not {RESTRICTED.format(image="p.image_sha256")}
order by p.image_sha256
"""
# Restricted images with a settled label, and those of them that were corrected.
RESTRICTED_LABELS = f"""
select count(*) as settled, coalesce(sum(corrected), 0) as corrected from (
  select max({MISCLASSIFIED.format(row="o")} and o.confirmed <> '') as corrected
  from outcomes o join predictions p on p.id = o.prediction_id
  where {RESTRICTED.format(image="p.image_sha256")} and {SETTLED_LABEL} is not null
    and not ({OVERRULED.format(outcome="o", prediction="p")})
  group by p.image_sha256
)
"""


@dataclass(frozen=True, slots=True)
class RestrictedLabels:
    """How many restricted images have a settled label, and how many of them a corrected one."""

    settled: int
    corrected: int


@dataclass(frozen=True, slots=True)
class Votes:
    """Numbers of reviewers by the label of their latest decision about an image."""

    normal: int
    nsfw: int
    unsure: int


@dataclass(frozen=True, slots=True)
class ImageLabels:
    """The labels of an image that is not restricted.

    - `correction` is that confirmed in Relabel, `settled` what reviewers settled on; None where
      there is none.
    - A label is that of one prediction or model where they `differ`.
    - `against_model` is whether a model whose prediction was settled had another label, at the
      threshold of the latest decision about it. Every corrected image is one of these.
    - `is_unsure` is whether a prediction was settled as unsure, `is_doubted` whether a decision or
      an imported label that counts is nsfw or unsure, settled or not.
    - `set_aside` is whether a reviewer left it out of training in Relabel.
    - `source` is that of the upload, for reviewers who did not upload it.
    - `imported_from` is the source of its label, where no reviewer decided; such labels are not
      among the votes.
    - Score and policy version are those of the latest prediction that has decisions.
    - `categories` are the settled ones; None where no reviewer was asked.
    """

    image_sha256: str
    perceptual_hash: str | None
    source: str
    correction: Label | None
    corrections_differ: bool
    set_aside: bool
    settled: Label | None
    settled_differ: bool
    against_model: bool
    is_unsure: bool
    is_doubted: bool
    votes: Votes
    imported_from: str | None
    identity: ModelIdentity
    nsfw_score: float
    policy_version: int | None
    categories: tuple[Category, ...] | None


class LabeledImages:
    """Reads the labels of images, whether or not they wait for blind decisions."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def all(self) -> Iterator[ImageLabels]:
        """Every image with a standing decision that is not restricted, in order of its hash."""
        for row in self._connections.db.execute(LABELS):
            yield ImageLabels(
                row["image_sha256"],
                row["perceptual_hash"],
                row["source"],
                row["correction"] and Label(row["correction"]),
                bool(row["corrections_differ"]),
                bool(row["set_aside"]),
                row["settled"] and Label(row["settled"]),
                bool(row["settled_differ"]),
                bool(row["against_model"]),
                bool(row["is_unsure"]),
                bool(row["is_doubted"]),
                Votes(row["normal"], row["nsfw"], row["unsure"]),
                row["imported_from"],
                ModelIdentity(row["model"], row["revision"], row["weights_sha256"], row["backend"]),
                row["nsfw_score"],
                row["policy_version"],
                settled_categories(json.loads(row["named"])),
            )

    def restricted(self) -> dict[str, str | None]:
        """The perceptual hashes of restricted images, by hash."""
        rows = self._connections.db.execute(
            f"""
            select sha256, perceptual_hash from images where {RESTRICTED.format(image="sha256")}
            """
        )
        return {row[0]: row[1] for row in rows}

    def restricted_labels(self) -> RestrictedLabels:
        """How many restricted images have labels."""
        return RestrictedLabels(*self._connections.row(RESTRICTED_LABELS))

    def hash_starts(self, digits: int) -> Iterator[tuple[str, str]]:
        """The hash of every stored image, and the first digits of its perceptual hash."""
        rows = self._connections.db.execute(
            "select sha256, substr(perceptual_hash, 1, ?) from images "
            "where perceptual_hash is not null",
            (digits,),
        )
        yield from ((row[0], row[1]) for row in rows)

    def perceptual_hashes(self, images: Iterable[str]) -> dict[str, str]:
        """The perceptual hashes of images that have one, by hash."""
        rows = self._connections.db.execute(
            "select sha256, perceptual_hash from images join json_each(?) on value = sha256 "
            "where perceptual_hash is not null",
            (json.dumps([*images]),),
        )
        return {row[0]: row[1] for row in rows}
