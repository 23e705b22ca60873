"""Wrong labels of the model, estimated from sampled reviews: by reason, by source and by day.

- A review counts with the number of images that it represents, as in `estimates`.
- The model's label is that of the policy in force, the truth is the settled label or, until there
  is one, the provisional one.
"""

import json
from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nsfw_app.evidence.decision_counts import NO_REASON
from nsfw_app.evidence.decisions import NSFW, Decisions
from nsfw_app.evidence.estimates import Interval, proportion, scaled
from nsfw_app.evidence.population import Population
from nsfw_app.evidence.sample import UNSAFE
from nsfw_app.evidence.strata import Strata
from nsfw_app.records import Policy

NOT_SETTLED = "not_settled"


@dataclass(frozen=True, slots=True)
class ErrorGroup:
    """Images of a source or a day, and the shares of them that the model labels wrongly.

    - `images` is how many arrived that could be drawn, `reviews` how many have a label.
    - `wrong` is the share with either error: `false_negatives` are unsafe images that are labeled
      normal, `false_positives` safe ones that are labeled nsfw.
    """

    name: str
    images: int
    reviews: int
    wrong: Interval
    false_negatives: Interval
    false_positives: Interval


@dataclass(frozen=True, slots=True)
class ReasonErrors:
    """Wrongly labeled images for which reviewers gave a reason.

    - `found` of the sampled images are; `images` is the estimated number among all.
    - An image counts once for each of its reasons; `NO_REASON` are those without any, and
      `NOT_SETTLED` those whose reasons are hidden while they wait for another decision.
    """

    name: str
    found: int
    images: Interval


@dataclass(frozen=True, slots=True)
class ErrorEstimates:
    """Wrong labels by group; days are those of arrival, in UTC, in order."""

    threshold: float
    reasons: list[ReasonErrors]
    sources: list[ErrorGroup]
    days: list[ErrorGroup]


def estimate_errors(
    population: Population, policy: Policy, decisions: Decisions, *, confidence: float
) -> ErrorEstimates:
    """Estimate the model's wrong labels.

    Args:
        population: The images that arrived.
        policy: Whose threshold decides the model's label.
        decisions: Those about the images, for their reasons; others are ignored.
        confidence: Of each interval by itself, in (0, 1).
    """
    sample = population.estimated
    unsafe, flagged = sample.labels == UNSAFE, sample.scores >= policy.threshold
    wrong = sample.reviewed & (unsafe != flagged)
    represented = np.zeros(len(sample))
    represented[sample.reviewed] = Strata(sample).weights

    def group(name: str, images: int, chosen: NDArray[np.int64]) -> ErrorGroup:
        weights = represented[chosen]
        parts = (wrong[chosen], (wrong & unsafe)[chosen], (wrong & flagged)[chosen])
        return ErrorGroup(
            name,
            images,
            len(chosen),
            *(proportion(part, weights, confidence=confidence) for part in parts),
        )

    reviewed = np.flatnonzero(sample.reviewed)

    def groups(codes: NDArray[np.int64], names: list[str]) -> list[ErrorGroup]:
        counts = np.bincount(codes, minlength=len(names))
        order = np.argsort(codes[reviewed], kind="stable")
        ends = np.searchsorted(codes[reviewed][order], np.arange(len(names) + 1))
        return [
            group(name, int(counts[code]), reviewed[order[ends[code] : ends[code + 1]]])
            for code, name in enumerate(names)
        ]

    sources = [source for source, _ in Counter(population.sample_sources.tolist()).most_common()]
    code_of = {source: code for code, source in enumerate(sources)}
    of_source = np.array([code_of[each] for each in population.sample_sources], np.int64)
    dates, of_day = np.unique(population.sample_times.astype("datetime64[D]"), return_inverse=True)
    return ErrorEstimates(
        policy.threshold,
        _by_reason(population, np.flatnonzero(wrong), decisions, confidence),
        groups(of_source, sources),
        groups(of_day, [str(date) for date in dates]),
    )


def _by_reason(
    population: Population, wrong: NDArray[np.int64], decisions: Decisions, confidence: float
) -> list[ReasonErrors]:
    sample = population.estimated
    reasons_of = _reasons(population, wrong, decisions)
    reviewed = np.flatnonzero(sample.reviewed)
    weights = Strata(sample).weights
    found: dict[str, list[int]] = {}
    for place in wrong.tolist():
        missing = NO_REASON if population.sample.reviewed[place] else NOT_SETTLED
        for reason in reasons_of.get(int(population.prediction_ids[place])) or {missing}:
            found.setdefault(reason, []).append(place)
    return [
        ReasonErrors(
            reason,
            len(places),
            scaled(
                proportion(np.isin(reviewed, places), weights, confidence=confidence), len(sample)
            ),
        )
        for reason, places in sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))
    ]


def _reasons(
    population: Population, wrong: NDArray[np.int64], decisions: Decisions
) -> dict[int, set[str]]:
    """Reasons by prediction, from the decisions with the label of the image."""
    ids = population.prediction_ids[wrong]
    unsafe = dict(zip(ids.tolist(), population.estimated.labels[wrong] == UNSAFE, strict=True))
    lists = [set(json.loads(text)) for text in decisions.reason_lists]
    given = np.array([bool(reasons) for reasons in lists], bool)
    about = np.isin(decisions.prediction_ids, ids)
    if len(lists):
        about &= given[decisions.reasons]
    found: dict[int, set[str]] = {}
    for place in np.flatnonzero(about).tolist():
        prediction_id = int(decisions.prediction_ids[place])
        if (decisions.labels[place] == NSFW) == unsafe[prediction_id]:
            found.setdefault(prediction_id, set()).update(lists[decisions.reasons[place]])
    return found
