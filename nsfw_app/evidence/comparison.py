"""Recent images compared with those of the policy's evidence: alarms, and the series of plots.

- The reference is all that arrived before the latest policy that was saved without an alarm. Saving
  a policy while an alarm is raised leaves the reference, so that drifted images do not become
  evidence by that. Before a first policy, or if nearly nothing had arrived then, the reference is
  the first week.
- An administrator can accept the images so far, which ends an alarm. What changed is then compared
  with what came after its alarm: the images before would raise the next one.
- Disagreements are compared among the scores that were always reviewed whole: a band that was
  changed leaves out what only one of the periods reviewed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nsfw_app.evidence.drift import MIN_REFERENCE, Drift, rate_drift, score_drift
from nsfw_app.evidence.estimates import Interval, proportion
from nsfw_app.evidence.population import Population
from nsfw_app.evidence.sample import UNSAFE
from nsfw_app.records import Policy
from nsfw_app.store.references import AcceptedReference

WEEK = np.timedelta64(7, "D")
SECOND = np.timedelta64(1, "s")
MONDAY = np.datetime64("1970-01-05", "s")
MAX_WEEKS = 53
SCORE_BINS = 20
CONFIDENCE = 0.95
Times = NDArray[np.datetime64]


@dataclass(frozen=True, slots=True)
class WeeklyRate:
    """How often reviewers' labels differ from the model's, of the images that arrived in a week.

    `start` is its Monday, as an ISO date.
    """

    start: str
    disagreements: Interval


@dataclass(frozen=True, slots=True)
class Comparison:
    """Recent images and the reference.

    - `reference_until` is when the reference ends, in UTC; None without images.
    - `reference_scores` and `week_scores` are counts by twentieths of the score: of the reference,
      and of the seven days from `week_start` until the latest image.
    - `weeks` are those with images, at most `MAX_WEEKS`, the oldest first.
    - `certain_from` and `certain_to` bound the scores whose disagreements are compared.
    - `accepted` is the latest accepted reference with at least `MIN_REFERENCE` images.
    """

    reference_until: str | None
    scores: Drift
    disagreements: Drift
    reference_scores: list[int]
    week_start: str | None
    week_scores: list[int]
    weeks: list[WeeklyRate]
    certain_from: float
    certain_to: float
    accepted: AcceptedReference | None

    @property
    def alarm(self) -> bool:
        """Whether a change is shown."""
        return self.scores.shown or self.disagreements.shown

    @property
    def least_since_alarm(self) -> int:
        """How many images, or reviews, came after the alarm; of two alarms the lower number."""
        found = (self.scores, self.disagreements)
        return min((drift.since_alarm for drift in found if drift.shown), default=0)


def compare(
    history: Population,
    policy: Policy,
    saved: Sequence[datetime],
    accepted: Sequence[AcceptedReference] = (),
) -> Comparison:
    """Compare recent images with the reference.

    Args:
        history: All images of a model and source, in order of arrival.
        policy: In force; its threshold decides what a disagreement is.
        saved: When policies of the model were saved, the oldest first.
        accepted: References of the model that were accepted, the oldest first.
    """
    reviews = _CertainReviews(history, policy)
    reference = _Reference(history, reviews, saved, accepted)
    until = reference.until
    scores, disagreements = reference.drifts()
    start = history.times.max() - WEEK if len(history) else until
    return Comparison(
        reference_until=_iso(until) if len(history) else None,
        scores=scores,
        disagreements=disagreements,
        reference_scores=_counts(history.scores[history.times < until][reference.first_image :]),
        week_start=_iso(start) if len(history) else None,
        week_scores=_counts(history.scores[history.times > start]),
        weeks=reviews.by_week(),
        certain_from=reviews.lower,
        certain_to=reviews.upper,
        accepted=reference.accepted,
    )


class _CertainReviews:
    """Reviews of scores that were always drawn with certainty, around the threshold.

    Provisional labels are among them: disagreements wait for a second decision, so that settled
    labels alone would show a lower rate for the latest images.
    """

    def __init__(self, history: Population, policy: Policy) -> None:
        sample = history.estimated
        uncertain = sample.scores[sample.probabilities < 1]
        below = uncertain < policy.threshold
        self.lower = float(uncertain[below].max(initial=0.0))
        self.upper = float(uncertain[~below].min(initial=1.0))
        certain = (sample.probabilities == 1) & sample.reviewed
        certain &= (sample.scores >= self.lower) & (sample.scores <= self.upper)
        self.times: Times = history.sample_times[certain]
        flagged = sample.scores[certain] >= policy.threshold
        self.differ = (sample.labels[certain] == UNSAFE) != flagged

    def by_week(self) -> list[WeeklyRate]:
        """The rate of disagreement by week."""
        weeks = (self.times - MONDAY) // WEEK
        return [
            WeeklyRate(
                str((MONDAY + int(week) * WEEK).astype("datetime64[D]")),
                proportion(
                    self.differ[weeks == week],
                    np.ones(int(np.count_nonzero(weeks == week))),
                    confidence=CONFIDENCE,
                ),
            )
            for week in np.unique(weeks)[-MAX_WEEKS:]
        ]


class _Reference:
    """The reference: images from number `first_image`, and reviews from `first_review`, to `until`.

    Policies and acceptances are followed in order of their times.
    """

    def __init__(
        self,
        history: Population,
        reviews: _CertainReviews,
        saved: Sequence[datetime],
        accepted: Sequence[AcceptedReference],
    ) -> None:
        self._history = history
        self._reviews = reviews
        self.first_image = self.first_review = 0
        self.accepted: AcceptedReference | None = None
        events = [(_second(time), None) for time in saved] + [
            (_end(each), each) for each in accepted
        ]
        events.sort(key=lambda event: event[0])
        if not len(history):
            self.until = events[-1][0] if events else np.datetime64(0, "s")
            return
        events = [each for each in events if self._images_before(each[0]) >= MIN_REFERENCE]
        self.until = min([history.times.min() + WEEK, *(time for time, _ in events)])
        for time, acceptance in events:
            if acceptance is not None:
                self._accept(acceptance)
            elif not any(drift.shown for drift in self.drifts(time)):
                self.until = max(self.until, time)

    def drifts(self, end: np.datetime64 | None = None) -> tuple[Drift, Drift]:
        """Drift of scores and of disagreements after the reference, and before `end`."""

        def parts(
            times: Times, values: NDArray[Any], first: int
        ) -> tuple[NDArray[Any], NDArray[Any]]:
            recent = times >= self.until
            return values[~recent][first:], values[
                recent if end is None else recent & (times < end)
            ]

        return (
            score_drift(*parts(self._history.times, self._history.scores, self.first_image)),
            rate_drift(*parts(self._reviews.times, self._reviews.differ, self.first_review)),
        )

    def _accept(self, accepted: AcceptedReference) -> None:
        """End the reference there; what has an alarm begins after it, if enough came after it.

        Labels that came later can raise another alarm, which does not undo an acceptance.
        """
        end = _end(accepted)
        scores, disagreements = self.drifts(end)
        if scores.alarm is not None and scores.since_alarm >= MIN_REFERENCE:
            self.first_image = self._images_before(self.until) + scores.alarm + 1
        if disagreements.alarm is not None and disagreements.since_alarm >= MIN_REFERENCE:
            before = int(np.count_nonzero(self._reviews.times < self.until))
            self.first_review = before + disagreements.alarm + 1
        self.until = max(self.until, end)
        self.accepted = accepted

    def _images_before(self, time: np.datetime64) -> int:
        return int(np.count_nonzero(self._history.times < time))


def _second(time: datetime) -> np.datetime64:
    return np.datetime64(time.astimezone(UTC).replace(tzinfo=None), "s")


def _end(accepted: AcceptedReference) -> np.datetime64:
    """When it ends: times of arrivals are whole seconds, and its own second belongs to it."""
    return _second(datetime.fromisoformat(accepted.at)) + SECOND


def _counts(scores: NDArray[Any]) -> list[int]:
    bins = np.minimum((scores * SCORE_BINS).astype(int), SCORE_BINS - 1)
    return [int(count) for count in np.bincount(bins, minlength=SCORE_BINS)]


def _iso(time: np.datetime64) -> str:
    return f"{time.astype('datetime64[s]')}Z"
