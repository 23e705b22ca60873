"""The answers that stand, counted: by image, by reviewer, and where several answered one image."""

from dataclasses import dataclass

from nsfw_app.records import Label, ModelIdentity
from nsfw_app.store.connections import Connections


@dataclass(frozen=True, slots=True)
class Outcome:
    """A prediction and the label that people give its image; None while they differ.

    `last_decision_id` is that of the latest decision about it.
    """

    image_sha256: str
    identity: ModelIdentity
    nsfw_score: float
    label: Label | None
    last_decision_id: int


@dataclass(frozen=True, slots=True)
class SharedAnswer:
    """A reviewer's latest answer to an image that another reviewer answered too."""

    reviewer: str
    image_sha256: str
    label: Label


@dataclass(frozen=True, slots=True)
class ReviewerStats:
    """A reviewer's answers, how many of them were timed, and the median of those."""

    reviewer: str
    answers: int
    timed: int
    median_ms: float | None


# Answers that this viewer may know of: not those about an image that waits for their own.
SEEN = """
  (:viewer is null or not exists (
    select 1 from queue q where q.prediction_id = a.prediction_id and q.settled_at is null
      and q.answers_wanted > 1 and not exists (
        select 1 from standing_answers mine
        where mine.prediction_id = a.prediction_id and mine.reviewer = :viewer
      )
  ))
"""


class StandingAnswers:
    """The answers that were neither undone nor replaced, to read.

    With a `viewer`, answers about images that wait for an opinion of theirs are left out.
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def outcomes(self, *, viewer: str | None = None) -> list[Outcome]:
        """Every answered prediction with its label, the oldest first.

        That is the label the queue settled on, or else the one that all answers share. A single
        answer is enough: a disagreement that still waits for its second one would otherwise be
        missing where an agreement is not.
        """
        rows = self._connections.db.execute(
            f"""
            select p.image_sha256, p.model, p.revision, p.weights_sha256, p.backend, p.nsfw_score,
              max(a.id) as last_decision_id, coalesce(
              (select q.settled_label from queue q where q.prediction_id = p.id
               order by q.id desc limit 1),
              case when count(distinct a.label) = 1 then min(a.label) end
            ) as label
            from standing_answers a join predictions p on p.id = a.prediction_id
            where {SEEN}
            group by p.id order by p.id
            """,
            {"viewer": viewer},
        )
        return [
            Outcome(
                row["image_sha256"],
                ModelIdentity(row["model"], row["revision"], row["weights_sha256"], row["backend"]),
                row["nsfw_score"],
                Label(row["label"]) if row["label"] else None,
                row["last_decision_id"],
            )
            for row in rows
        ]

    def shared(self, *, viewer: str | None = None) -> list[SharedAnswer]:
        """The latest answer of each reviewer to each image that several have answered."""
        rows = self._connections.db.execute(
            f"""
            with latest as (
              select a.reviewer, p.image_sha256, a.label, max(a.id) as id
              from standing_answers a join predictions p on p.id = a.prediction_id
              where {SEEN} group by a.reviewer, p.image_sha256
            )
            select reviewer, image_sha256, label from latest
            where image_sha256 in (
              select image_sha256 from latest group by image_sha256 having count(*) > 1
            )
            order by image_sha256, id
            """,
            {"viewer": viewer},
        )
        return [SharedAnswer(row[0], row[1], Label(row[2])) for row in rows]

    def reviewer_stats(self, *, viewer: str | None = None) -> list[ReviewerStats]:
        """How much and how fast each reviewer answered, the most answers first."""
        rows = self._connections.db.execute(
            f"""
            with ranked as (
              select reviewer, elapsed_ms, count(*) over whose as answers,
                count(elapsed_ms) over whose as timed,
                row_number() over (
                  partition by reviewer order by elapsed_ms is null, elapsed_ms
                ) as place
              from standing_answers a where {SEEN} window whose as (partition by reviewer)
            )
            select reviewer, answers, timed,
              avg(elapsed_ms) filter (where place in ((timed + 1) / 2, (timed + 2) / 2))
            from ranked group by reviewer order by answers desc, reviewer
            """,
            {"viewer": viewer},
        )
        return [ReviewerStats(*row) for row in rows]
