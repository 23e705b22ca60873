"""Counts of decisions: against the model's label, by reason, source and day; by reviewer and week.

They are counts of what people decided, on images that they chose or that the queue gave them, and
not estimates for all images.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nsfw_app.evidence.decisions import NORMAL, NSFW, UNSURE, Decisions
from nsfw_app.evidence.metrics import Share

NO_REASON = ""
MONDAY = 4  # the first one after 1970-01-01, a Thursday


@dataclass(frozen=True, slots=True)
class GroupCount:
    """Decisions of a group, and those whose label differs from the model's at that time.

    - `false_negatives` say nsfw where the model said normal, `false_positives` the other way;
      `unsure` decisions are neither.
    """

    name: str
    decisions: int
    false_negatives: int
    false_positives: int
    unsure: int


@dataclass(frozen=True, slots=True)
class DecisionCounts:
    """Decisions in all and by group.

    - `reasons` counts a decision once for each of its reason codes; `NO_REASON` are those that
      differ from the model and have none.
    - `days` are in UTC, in order, without those that have no decision.
    - `waiting` is how many decisions of all periods are left out: see `decisions`.
    """

    total: GroupCount
    reasons: list[GroupCount]
    sources: list[GroupCount]
    days: list[GroupCount]
    waiting: int


@dataclass(frozen=True, slots=True)
class ReviewerCount:
    """A reviewer's decisions in a period.

    - `differ` is how many differ from the model's label, unsure ones left out.
    - `with_others`: of other reviewers' decisions on the same images, whenever they were made,
      those with the same label.
    """

    reviewer: str
    decisions: int
    differ: int
    timed: int
    median_ms: float | None
    with_others: Share


@dataclass(frozen=True, slots=True)
class WeekCount:
    """Decisions of a week in UTC, by the date of its Monday, and their agreement with others."""

    week: str
    decisions: int
    with_others: Share


@dataclass(frozen=True, slots=True)
class People:
    """Workload and agreement: by reviewer, the most decisions first, and by week, in order."""

    reviewers: list[ReviewerCount]
    weeks: list[WeekCount]


def count_decisions(found: Decisions) -> DecisionCounts:
    """Count decisions against the model's label."""
    errors = _errors(found)
    days, names = _codes_of_dates(found.times.astype("datetime64[D]"))
    return DecisionCounts(
        total=_groups(errors, np.zeros(len(found), np.int64), ["all"])[0]
        if len(found)
        else GroupCount("all", 0, 0, 0, 0),
        reasons=_by_reason(found, errors),
        sources=_most_first(_groups(errors, found.sources, found.source_names)),
        days=_groups(errors, days, names),
        waiting=found.waiting,
    )


def count_people(found: Decisions) -> People:
    """Count decisions by reviewer, and by week."""
    errors = _errors(found)
    reviewers = []
    order = np.argsort(found.reviewers, kind="stable")
    starts = np.searchsorted(found.reviewers[order], np.arange(len(found.reviewer_names) + 1))
    for code, name in enumerate(found.reviewer_names):
        own = order[starts[code] : starts[code + 1]]
        if not len(own):
            continue
        times = found.elapsed_ms[own]
        times = times[~np.isnan(times)]
        reviewers.append(
            ReviewerCount(
                name,
                len(own),
                int((errors[own] & DIFFERS > 0).sum()),
                len(times),
                float(np.median(times)) if len(times) else None,
                Share(int(found.same[own].sum()), int(found.others[own].sum())),
            )
        )
    days = found.times.astype("datetime64[D]").astype(np.int64)
    mondays = days - (days - MONDAY) % 7
    weeks, names = _codes_of_dates(mondays.astype("datetime64[D]"))
    decisions, same, others = (
        np.bincount(weeks, values, len(names)).astype(int)
        for values in (None, found.same, found.others)
    )
    return People(
        sorted(reviewers, key=lambda each: (-each.decisions, each.reviewer)),
        [
            WeekCount(name, int(decisions[at]), Share(int(same[at]), int(others[at])))
            for at, name in enumerate(names)
        ],
    )


FALSE_NEGATIVE, FALSE_POSITIVE, IS_UNSURE = 1, 2, 4
DIFFERS = FALSE_NEGATIVE | FALSE_POSITIVE


def _errors(found: Decisions) -> NDArray[np.int8]:
    """How each decision differs from the model's label; 0 where it agrees."""
    return np.select(
        [
            (found.labels == NSFW) & ~found.flagged,
            (found.labels == NORMAL) & found.flagged,
            found.labels == UNSURE,
        ],
        [FALSE_NEGATIVE, FALSE_POSITIVE, IS_UNSURE],
        0,
    ).astype(np.int8)


def _groups(
    errors: NDArray[np.int8], codes: NDArray[Any], names: Sequence[str]
) -> list[GroupCount]:
    """The counts of each group that has decisions, in order of their codes."""
    kinds = (None, FALSE_NEGATIVE, FALSE_POSITIVE, IS_UNSURE)
    counts = [
        np.bincount(codes if kind is None else codes[errors == kind], minlength=len(names))
        for kind in kinds
    ]
    return [
        GroupCount(name, *(int(count[at]) for count in counts))
        for at, name in enumerate(names)
        if counts[0][at]
    ]


def _by_reason(found: Decisions, errors: NDArray[np.int8]) -> list[GroupCount]:
    codes_of = [sorted(set(json.loads(text))) for text in found.reason_lists]
    names = sorted({reason for reasons in codes_of for reason in reasons})
    totals = np.zeros((len(names) + 1, 4), np.int64)
    for group, reasons in zip(_groups_of_lists(found, errors), codes_of, strict=True):
        for reason in reasons:
            totals[names.index(reason)] += group
        if not reasons:
            totals[-1, 0] += group[1] + group[2]
            totals[-1, 1:3] += group[1:3]
    return _most_first(
        GroupCount(name, *map(int, row))
        for name, row in zip([*names, NO_REASON], totals, strict=True)
        if row[0]
    )


def _groups_of_lists(found: Decisions, errors: NDArray[np.int8]) -> NDArray[np.int64]:
    """Shape (lists of reasons, 4): decisions, false negatives, false positives, unsure."""
    size = len(found.reason_lists)
    kinds = (None, FALSE_NEGATIVE, FALSE_POSITIVE, IS_UNSURE)
    return np.stack(
        [
            np.bincount(
                found.reasons if kind is None else found.reasons[errors == kind], minlength=size
            )
            for kind in kinds
        ],
        axis=1,
    )


def _most_first(groups: Any) -> list[GroupCount]:
    return sorted(groups, key=lambda group: (-group.decisions, group.name))


def _codes_of_dates(dates: NDArray[np.datetime64]) -> tuple[NDArray[np.int64], list[str]]:
    """Dates as codes in order of time, and the text of each."""
    distinct, codes = np.unique(dates, return_inverse=True)
    return codes, [str(date) for date in distinct]
