"""Proposes audit rates: those that certify a threshold with the fewest reviews.

- The expected growth of the capital by an image (see `guarantee`) is computed for many plans from
  the scores seen so far, and from how likely an image of each score is unsafe. The reviews until
  the capital suffices follow.
- Rates that were in force before are taken into account: where they were lower than a plan's, its
  stakes rise only after `RECENT` images, and only half of the capital takes part.
- It is a forecast, not a promise: the certificate itself assumes nothing of this.
"""

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nsfw_app.evidence.guarantee import FRACTIONS, RECENT, RECENT_STEP
from nsfw_app.records import Policy
from nsfw_app.rules.audit_plan import AuditPlan, AuditRange

RATES = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
LEAST_WITHOUT_IMAGES = 0.05  # where no image arrived yet: the rate of docs/evidence.md's audits


@dataclass(frozen=True, slots=True)
class AuditProposal:
    """Rates outside the review band, and what certifying the recall costs with them.

    - `plan` is None where the recall that is expected at `threshold` does not exceed the target, or
      the work of a day suffices for no plan.
    - `assumed` are the ranges of the plan in which no image has arrived: they have the rate of the
      nearest range that has images, or `LEAST_WITHOUT_IMAGES` where that is more. This costs
      nothing today, and does not lower the stakes if images come there later.
    - `reviews` counts all images put before people until then, those of the band included;
      `reviews_a_day` those of a day, `days` is None where it is not known how many images arrive.
    """

    threshold: float
    expected_recall: float
    plan: AuditPlan | None
    reviews: int | None
    reviews_a_day: float | None
    days: float | None
    assumed: tuple[AuditRange, ...] = ()


def propose_audits(
    scores: NDArray[Any],
    unsafe: NDArray[Any],
    policy: Policy,
    *,
    recall: float,
    confidence: float,
    images_a_day: float | None = None,
    max_reviews_a_day: float | None = None,
    rates_before: NDArray[Any] | None = None,
) -> AuditProposal:
    """The audit plan that is expected to certify a recall with the fewest reviews.

    The threshold is the policy's `review_from`: images below it are allowed without a person.

    Args:
        scores: Shape (n,), nsfw scores of images that arrived.
        unsafe: Shape (n,), the probability that each is unsafe, such as a calibrated one.
        policy: Its band is reviewed whole.
        recall: The target, in (0, 1).
        confidence: In (0, 1).
        images_a_day: How many images arrive in a day.
        max_reviews_a_day: Most images that people can review in a day; needs `images_a_day`.
        rates_before: Shape (m,), the probabilities with which images of the same model were drawn;
            None if there are none yet.
    """
    edges = _edges(policy)
    part = np.digitize(scores, edges[1:-1])
    count = max(len(scores), 1)
    shares = np.bincount(part, minlength=len(edges) - 1) / count
    risks = np.bincount(part, unsafe, minlength=len(edges) - 1) / count
    predicted = np.bincount(part, unsafe * scores, minlength=len(edges) - 1) / count
    lower, upper = np.array(edges[:-1]), np.array(edges[1:])
    band = (lower >= policy.review_from) & (upper <= policy.review_to)
    missed = upper <= policy.review_from
    lost = missed & (shares > 0)
    expected = 1 - float(risks[missed].sum() / risks.sum()) if risks.sum() else 0.0
    if not expected > recall:
        return AuditProposal(policy.review_from, expected, None, None, None, None)
    empty = ~band & (shares == 0)
    free = ~band & ~empty
    needed = -math.log1p(-confidence) + math.log(2 * len(FRACTIONS))
    before = np.min(rates_before, initial=1.0) if rates_before is not None else 1.0
    found: list[tuple[float, float, NDArray[np.float64]]] = []
    for rates in itertools.product(RATES, repeat=int(np.count_nonzero(free))):
        probabilities = np.ones(len(shares))
        probabilities[free] = rates
        smallest = probabilities[shares > 0].min(initial=1.0)
        rising = smallest > before
        stakes = FRACTIONS[:, 0] * smallest
        losses = np.log1p(-stakes[:, np.newaxis] / probabilities[lost])
        gain = stakes * (1 - recall) / recall
        # In the band each unsafe image is seen; above it, it is predicted by its score.
        seen = risks[band & ~missed].sum() + predicted[~band & ~missed].sum()
        growth = (losses @ (risks * probabilities)[lost] + np.log1p(gain) * seen).max()
        if growth <= 0:
            continue
        load = float(shares @ probabilities)
        if max_reviews_a_day is None or load * (images_a_day or 0) <= max_reviews_a_day:
            images = (needed + rising * math.log(2)) / growth + rising * (RECENT + RECENT_STEP / 2)
            found.append((load * images, load, probabilities))
    if not found:
        return AuditProposal(policy.review_from, expected, None, None, None, None)
    reviews, load, probabilities = min(found, key=lambda plan: plan[:2])  # then the least a day
    probabilities[empty] = _rates_without_images(probabilities, empty=empty, free=free)
    ranges = [
        AuditRange(float(a), float(b), float(p))
        for a, b, p in zip(lower, upper, probabilities, strict=True)
    ]
    return AuditProposal(
        policy.review_from,
        expected,
        AuditPlan(ranges=tuple(itertools.compress(ranges, ~band))),
        math.ceil(reviews),
        None if images_a_day is None else load * images_a_day,
        None if not images_a_day else reviews / (load * images_a_day),
        tuple(itertools.compress(ranges, empty)),
    )


def _rates_without_images(
    probabilities: NDArray[np.float64], *, empty: NDArray[np.bool_], free: NDArray[np.bool_]
) -> list[float]:
    """The rates of empty ranges, from the nearest range outside the band that has images."""
    known = np.flatnonzero(free).tolist()
    if not known:
        return [LEAST_WITHOUT_IMAGES] * int(np.count_nonzero(empty))
    nearest = (min(known, key=lambda at: abs(at - each)) for each in np.flatnonzero(empty))
    return [max(float(probabilities[at]), LEAST_WITHOUT_IMAGES) for at in nearest]


def _edges(policy: Policy) -> list[float]:
    """Scores between which a rate is the same: the low range is halved, where most images are."""
    low = round(policy.review_from / 4, 3)
    return sorted({0.0, low, policy.review_from, policy.review_to, 1.0})
