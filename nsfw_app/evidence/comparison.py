"""Recent images compared with those of the policy's evidence: alarms, and the series of plots.

- The reference is all that arrived before the latest policy that was saved without an alarm. Saving
  a policy while an alarm is raised leaves the reference, so that drifted images do not become
  evidence by that. Before a first policy, or if nearly nothing had arrived then, the reference is
  the first week.
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

WEEK = np.timedelta64(7, "D")
MONDAY = np.datetime64("1970-01-05", "s")
MAX_WEEKS = 53
SCORE_BINS = 20
CONFIDENCE = 0.95
Times = NDArray[np.datetime64]


@dataclass(frozen=True, slots=True)
class WeeklyRate:
    """How often settled labels differ from the model's, of the images that arrived in a week.

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


def compare(history: Population, policy: Policy, saved: Sequence[datetime]) -> Comparison:
    """Compare recent images with the reference.

    Args:
        history: All images of a model and source, in order of arrival.
        policy: In force; its threshold decides what a disagreement is.
        saved: When policies of the model were saved, the oldest first.
    """
    reviews = _CertainReviews(history, policy)
    until = _reference_until(history, reviews, saved)
    scores, disagreements = _drifts(history, reviews, until, None)
    start = history.times.max() - WEEK if len(history) else until
    return Comparison(
        reference_until=_iso(until) if len(history) else None,
        scores=scores,
        disagreements=disagreements,
        reference_scores=_counts(history.scores[history.times < until]),
        week_start=_iso(start) if len(history) else None,
        week_scores=_counts(history.scores[history.times > start]),
        weeks=reviews.by_week(),
        certain_from=reviews.lower,
        certain_to=reviews.upper,
    )


class _CertainReviews:
    """Settled reviews of scores that were always drawn with certainty, around the threshold."""

    def __init__(self, history: Population, policy: Policy) -> None:
        sample = history.sample
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


def _reference_until(
    history: Population, reviews: _CertainReviews, saved: Sequence[datetime]
) -> np.datetime64:
    """When the reference ends: with the latest policy that was saved without an alarm."""
    times = [np.datetime64(each.astimezone(UTC).replace(tzinfo=None), "s") for each in saved]
    if not len(history):
        return times[-1] if times else np.datetime64(0, "s")
    times = [time for time in times if np.count_nonzero(history.times < time) >= MIN_REFERENCE]
    until = history.times.min() + WEEK
    if times and times[0] < until:
        until = times[0]
    for time in times:
        if time > until and not any(d.shown for d in _drifts(history, reviews, until, time)):
            until = time
    return until  # type: ignore[no-any-return]


def _drifts(
    history: Population,
    reviews: _CertainReviews,
    until: np.datetime64,
    end: np.datetime64 | None,
) -> tuple[Drift, Drift]:
    """Drift of scores and of disagreements from `until` to `end`, compared with those before."""

    def parts(times: Times, values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        recent = times >= until
        return values[~recent], values[recent if end is None else recent & (times < end)]

    return (
        score_drift(*parts(history.times, history.scores)),
        rate_drift(*parts(reviews.times, reviews.differ)),
    )


def _counts(scores: NDArray[Any]) -> list[int]:
    bins = np.minimum((scores * SCORE_BINS).astype(int), SCORE_BINS - 1)
    return [int(count) for count in np.bincount(bins, minlength=SCORE_BINS)]


def _iso(time: np.datetime64) -> str:
    return f"{time.astype('datetime64[s]')}Z"
