"""Standing decisions, counted: by prediction, by image, by reviewer and by pair of reviewers.

- A decision stands while it is neither undone nor replaced by a later one of the same reviewer
  about the same prediction.
- With a `viewer`, decisions about predictions that wait for a decision of this reviewer are left
  out.
- Of several decisions of a reviewer about one image, made about different predictions, only the
  latest counts towards the agreement between reviewers.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations, groupby
from operator import itemgetter
from typing import Any

from nsfw_app.records import Label, ModelIdentity
from nsfw_app.store.blind_review import Hidden, count_hidden
from nsfw_app.store.connections import Connections
from nsfw_app.store.label_imports import IMPORTED_ONLY


@dataclass(frozen=True, slots=True)
class Outcome:
    """A prediction with decisions, and the label that reviewers give its image.

    - `label` is what the queue settled on, or else what all decisions share; None while they
      differ. A single decision is enough: a disagreement that still waits for its second one would
      otherwise be missing where an agreement is not.
    - `last_decision_id` is that of the latest decision.
    """

    image_sha256: str
    identity: ModelIdentity
    nsfw_score: float
    label: Label | None
    last_decision_id: int


@dataclass(frozen=True, slots=True)
class OutcomeCount:
    """How many predictions of a model have a label, and how many of those reach a threshold."""

    identity: ModelIdentity
    label: Label | None
    predictions: int
    flagged: int


@dataclass(frozen=True, slots=True)
class PairCount:
    """How many images two reviewers gave these labels; `first` sorts before `second`."""

    first: str
    second: str
    first_label: Label
    second_label: Label
    images: int


@dataclass(frozen=True, slots=True)
class LabelCount:
    """How many images have these numbers of decisions for each label, two or more in all."""

    normal: int
    nsfw: int
    unsure: int
    images: int


@dataclass(frozen=True, slots=True)
class ReviewerStats:
    """A reviewer's decisions, how many of them were timed, and the median of those times."""

    reviewer: str
    answers: int
    timed: int
    median_ms: float | None


SEEN = """
(:viewer is null or {row}.audience = '*'
  or instr('/' || {row}.audience, '/' || hex(:viewer) || '/'))
"""
COMPETING_OUTCOMES = f"""
select p.image_sha256, i.model, i.revision, i.weights_sha256, i.backend, o.nsfw_score, o.label,
  o.last_decision_id
from outcomes o join predictions p on p.id = o.prediction_id
  join model_identities i on i.id = o.identity_id
where {SEEN.format(row="o")} and o.rivals > 0 and o.prediction_id not in ({IMPORTED_ONLY})
order by o.prediction_id
"""
COUNTS = f"""
select label, count(*) as predictions, sum(nsfw_score >= :threshold) as flagged from outcomes o
where identity_id = :identity and rivals = 0 and audience = '*'
  and prediction_id not in ({IMPORTED_ONLY})
group by label
union all
select label, count(*), sum(nsfw_score >= :threshold) from outcomes o
where identity_id = :identity and rivals = 0 and audience <> '*' and {SEEN.format(row="o")}
  and prediction_id not in ({IMPORTED_ONLY})
group by label
"""
# Images whose decisions this viewer may see and not every reviewer may.
RESTRICTED_IMAGES = """
select distinct p.image_sha256 from standing_decisions s
join predictions p on p.id = s.prediction_id
where s.reviewer = :viewer and s.audience > '*'
"""
PUBLIC_LABELS = f"""
select l.image_sha256, l.reviewer, l.label
from ({RESTRICTED_IMAGES}) image
cross join image_labels_public l on l.image_sha256 = image.image_sha256
order by 1, 2
"""
VIEWER_LABELS = f"""
select p.image_sha256, s.reviewer, s.label
from ({RESTRICTED_IMAGES}) image
  cross join predictions p on p.image_sha256 = image.image_sha256
  cross join standing_decisions s on s.prediction_id = p.id
where {SEEN.format(row="s")} and not exists (
  select 1 from predictions other cross join standing_decisions later
    on later.prediction_id = other.id and later.reviewer = s.reviewer
  where other.image_sha256 = p.image_sha256 and later.decision_id > s.decision_id
    and {SEEN.format(row="later")}
)
order by 1, 2
"""
TIMES = f"""
select elapsed_ms from standing_decisions s
where reviewer = :reviewer and audience = '*' and elapsed_ms is not null
union all
select elapsed_ms from standing_decisions s
where reviewer = :reviewer and audience > '*' and elapsed_ms is not null
  and {SEEN.format(row="s")}
"""


class StandingDecisions:
    """Reads the standing decisions."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def competing_outcomes(self, *, viewer: str | None = None) -> list[Outcome]:
        """Outcomes of images that have several, from backends of one revision of a model."""
        rows = self._connections.db.execute(COMPETING_OUTCOMES, {"viewer": viewer})
        return [
            Outcome(
                row["image_sha256"],
                _identity(row),
                row["nsfw_score"],
                Label(row["label"]) if row["label"] else None,
                row["last_decision_id"],
            )
            for row in rows
        ]

    def outcome_counts(
        self, threshold_of: Callable[[str], float], *, viewer: str | None = None
    ) -> list[OutcomeCount]:
        """Count all other outcomes.

        Args:
            threshold_of: The threshold that flags an image, by the model's id.
            viewer: See the module.
        """
        counts = []
        for row in self._connections.db.execute("select * from model_identities").fetchall():
            identity = _identity(row)
            values = {
                "identity": row["id"],
                "threshold": threshold_of(identity.model),
                "viewer": viewer,
            }
            for label, predictions, flagged in self._connections.db.execute(COUNTS, values):
                counts.append(OutcomeCount(identity, label and Label(label), predictions, flagged))
        return counts

    def shared_counts(
        self, *, viewer: str | None = None
    ) -> tuple[list[PairCount], list[LabelCount]]:
        """How reviewers agree over the images that several decided on, by pair and by image."""
        scope = "all" if viewer is None else "public"
        rows = self._connections.db.execute("select * from pair_tallies where scope = ?", (scope,))
        pairs = Counter({tuple(row)[1:5]: row["images"] for row in rows})
        rows = self._connections.db.execute("select * from label_tallies where scope = ?", (scope,))
        labels = Counter({tuple(row)[1:4]: row["images"] for row in rows})
        if viewer is not None:  # count images as this viewer sees them instead of as everyone does
            for sql, sign in ((PUBLIC_LABELS, -1), (VIEWER_LABELS, 1)):
                for image in self._images(sql, viewer):
                    for (first, first_label), (second, second_label) in combinations(image, 2):
                        pairs[first, second, first_label, second_label] += sign
                    if len(image) > 1:
                        given = [label for _, label in image]
                        labels[tuple(given.count(label) for label in Label)] += sign
        return (
            [
                PairCount(first, second, Label(first_label), Label(second_label), images)
                for (first, second, first_label, second_label), images in sorted(pairs.items())
                if images
            ],
            [
                LabelCount(normal, nsfw, unsure, images)
                for (normal, nsfw, unsure), images in sorted(labels.items())
                if images
            ],
        )

    def _images(self, sql: str, viewer: str) -> Iterator[list[tuple[str, str]]]:
        """The reviewers and labels of each image, in order of the reviewers' names."""
        rows = self._connections.db.execute(sql, {"viewer": viewer}).fetchall()
        for _, image in groupby(rows, key=itemgetter(0)):
            yield [(reviewer, label) for _, reviewer, label in image]

    def reviewer_stats(self, *, viewer: str | None = None) -> list[ReviewerStats]:
        """How much and how fast each reviewer decided, the most decisions first."""
        reviewers = self._connections.db.execute(
            f"""
            select reviewer, sum(entries) as answers from log_groups g
            where not undone and entries > 0 and {SEEN.format(row="g")}
            group by reviewer order by answers desc, reviewer
            """,
            {"viewer": viewer},
        ).fetchall()
        return [
            ReviewerStats(reviewer, answers, *self._times(reviewer, viewer))
            for reviewer, answers in reviewers
        ]

    def hidden(self, reviewer: str | None) -> Hidden:
        """What is hidden from a reviewer; nothing with None."""
        return count_hidden(self._connections, reviewer, condition="not g.undone")

    def _times(self, reviewer: str, viewer: str | None) -> tuple[int, float | None]:
        """How many decisions were timed, and the median time in milliseconds."""
        values = {"reviewer": reviewer, "viewer": viewer}
        timed = self._connections.row(f"select count(*) from ({TIMES})", values)[0]
        middle = self._connections.row(
            f"select avg(elapsed_ms) from (select * from ({TIMES}) order by elapsed_ms "
            "limit 2 - :timed % 2 offset (:timed - 1) / 2)",
            {**values, "timed": timed},
        )
        return timed, middle[0] if timed else None


def _identity(row: Any) -> ModelIdentity:
    return ModelIdentity(row["model"], row["revision"], row["weights_sha256"], row["backend"])
