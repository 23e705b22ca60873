"""What the evidence says about a model under its policy: the numbers of the Insights tab.

- Estimates are of one period, model and source; what they leave out is counted.
- Bounds of recall and alarms of drift are of all images of the model and source, in every period:
  they are valid at any time only if each look continues the one before. A period that moves leaves
  out its oldest images, so that each look is a new try, and some try succeeds by chance.
- The curves are computed once for all thresholds, so that a page can look up any policy.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nsfw_app.evidence.calibration import Calibration, fit_calibration
from nsfw_app.evidence.comparison import Comparison, compare
from nsfw_app.evidence.estimates import Estimates, Estimator, Interval, proportion
from nsfw_app.evidence.guarantee import Certificate, certify_threshold, recall_bounds
from nsfw_app.evidence.metrics import Confusion, confusion
from nsfw_app.evidence.population import Population
from nsfw_app.evidence.sample import SAFE, UNSAFE, Sample
from nsfw_app.records import Policy
from nsfw_app.rules.audit_plan import AuditPlan
from nsfw_app.store.references import AcceptedReference

CONFIDENCE = 0.95  # of intervals
BOUND_CONFIDENCE = 0.9  # of the certificate
RECALL_TARGET = 0.95  # that a lead starts with
RECALL_TARGETS = (0.8, 0.85, 0.9, 0.95, 0.98, 0.99)
BINS = 100
THRESHOLDS = np.arange(BINS + 1) / BINS
RELIABILITY_BINS = 10


@dataclass(frozen=True, slots=True)
class Curve:
    """How recall, precision and work depend on the threshold; one entry per hundredth.

    - `recall` and `precision` are estimates, `bounds` lower confidence bounds of the recall that
      are valid at any time.
    - `images` are counts of scores in each hundredth, `audits` the images of those that the audit
      plan is expected to draw where they are outside the band.
    """

    thresholds: list[float]
    recall: list[Interval]
    precision: list[Interval]
    bounds: list[float]
    images: list[int]
    audits: list[float]


@dataclass(frozen=True, slots=True)
class Histogram:
    """Estimated numbers of unsafe and safe images, by tenths of the score; weighted reviews."""

    unsafe: list[float]
    safe: list[float]
    reviews: list[int]


@dataclass(frozen=True, slots=True)
class ReliabilityPoint:
    """Images whose probability is in a tenth: its mean, and the share that is unsafe."""

    probability: float
    unsafe: Interval


@dataclass(frozen=True, slots=True)
class Summary:
    """The evidence of a period.

    - `allowed` are estimates at `review_from`: what is below is allowed without a person.
      `labeled` are those at the threshold, and `labeled_reviews` the reviewers' labels by the
      model's.
    - `never_drawn` images had no chance to be reviewed: nothing is known of them.
    - `reviews` are sampled images with a label; `provisional` of them are not settled, and count in
      estimates with the label of their decisions so far. `unsettled` images were drawn and have no
      settled label, with or without a provisional one: the worst case of the certificate.
    - `certificate` is for one recall, `RECALL_TARGET` by default.
    - `more_reviews` is about how many more sampled reviews certify a threshold for each recall in
      `RECALL_TARGETS`; where it is None, `no_forecast` says why.
    - `policy_held` is whether all of them arrived under the policy in force.
    - `days` is the length of the period in which images arrived; None without any. `dispersion` is
      how much its days differ, see `Population`.
    - `bounds_images` and `bounds_reviews` are those of the bounds of recall and of `more_reviews`,
      which are not limited to the period, and are of settled labels only.
    - `reliability` is that of the raw scores, `reliability_calibrated` that of probabilities.
    """

    policy: Policy
    images: int
    never_drawn: int
    reviews: int
    unsettled: int
    policy_held: bool
    days: float | None
    allowed: Estimates
    labeled: Estimates
    labeled_reviews: Confusion
    curve: Curve
    certificate: Certificate
    more_reviews: dict[str, int | None]
    no_forecast: dict[str, str | None]
    histogram: Histogram
    calibration: Calibration | None
    reliability: list[ReliabilityPoint]
    reliability_calibrated: list[ReliabilityPoint]
    comparison: Comparison
    bounds_images: int
    bounds_reviews: int
    dispersion: float | None
    provisional: int


def summarize(
    population: Population,
    policy: Policy,
    audits: AuditPlan,
    *,
    saved: Sequence[datetime] = (),
    accepted: Sequence[AcceptedReference] = (),
    history: Population | None = None,
    recall: float = RECALL_TARGET,
) -> Summary:
    """Summarize the images of a period.

    Args:
        population: The images that arrived.
        policy: In force.
        audits: The audit plan in force.
        saved: When policies of the model were saved, the oldest first; see `comparison`.
        accepted: References of the model that were accepted, the oldest first.
        history: All images of the model and source; None where the period is all of them.
        recall: The target of the certificate, in (0, 1).
    """
    sample = population.estimated
    history = population if history is None else history
    calibration = fit_calibration(sample)
    estimator = Estimator(sample, confidence=CONFIDENCE)
    certificates = {
        target: certify_threshold(
            history.sample,
            recall=target,
            confidence=BOUND_CONFIDENCE,
            candidates=THRESHOLDS[1:-1],
        )
        for target in {*RECALL_TARGETS, recall}
    }
    return Summary(
        policy=policy,
        images=len(population),
        never_drawn=population.never_drawn,
        reviews=sample.reviews,
        unsettled=population.sample.open_draws,
        policy_held=_is_after(population, saved),
        days=population.days,
        allowed=estimator.at(policy.review_from),
        labeled=estimator.at(policy.threshold),
        labeled_reviews=confusion(
            sample.labels[sample.reviewed] == UNSAFE,
            sample.scores[sample.reviewed],
            threshold=policy.threshold,
        ),
        curve=_curve(population, estimator, audits, history.sample),
        certificate=certificates[recall],
        more_reviews={f"{each:g}": certificates[each].more_reviews for each in RECALL_TARGETS},
        no_forecast={f"{each:g}": certificates[each].no_forecast for each in RECALL_TARGETS},
        histogram=_histogram(sample, estimator.weights),
        calibration=calibration,
        reliability=_reliability(sample, sample.scores, estimator.weights),
        reliability_calibrated=(
            _reliability(sample, calibration(sample.scores), estimator.weights)
            if calibration
            else []
        ),
        comparison=compare(history, policy, saved, accepted),
        bounds_images=len(history.sample),
        bounds_reviews=history.sample.reviews,
        dispersion=population.dispersion,
        provisional=int(np.count_nonzero(population.is_provisional)),
    )


def headline(summary: Summary, *, period: str) -> str:
    """The first sentence of Insights: what is allowed, or what is missing to know it.

    Args:
        summary: Of the period.
        period: Its name within a sentence, such as "in the last 30 days".
    """
    images = f"{summary.images:,} image{'s' if summary.images != 1 else ''}"
    verb = "were allowed" if summary.policy_held else "would be allowed by the policy in force"
    if not summary.images:
        return f"No image arrived {period}. Images count that may enter the review queue."
    if summary.never_drawn == summary.images or not summary.reviews:
        missing = (
            "none of them could be drawn for review: set NSFW_AUDIT_RATE, and add audit to "
            "NSFW_QUEUE_RULES"
            if summary.never_drawn == summary.images
            else f"none of them is reviewed and settled; {summary.unsettled:,} wait"
        )
        return f"Of {images} {period} nothing is known: {missing}."
    missed, recall = summary.allowed.missed, summary.allowed.recall
    not_settled = (
        f", {summary.provisional:,} of them not settled yet" if summary.provisional else ""
    )
    if recall.value is None or missed.value is None:
        return (
            f"Of {images} {period} at most {missed.upper:,.0f} unsafe ones {verb}: none of the "
            f"{summary.reviews:,} sampled reviews{not_settled and not_settled + ','} is unsafe."
        )
    return (
        f"Of {images} {period} about {missed.value:,.0f} unsafe ones {verb} "
        f"({missed.lower:,.0f} to {missed.upper:,.0f}). Recall {100 * recall.value:.1f} % "
        f"({100 * recall.lower:.1f} to {100 * recall.upper:.1f}), from {summary.reviews:,} sampled "
        f"reviews{not_settled}."
    )


def _is_after(population: Population, saved: Sequence[datetime]) -> bool:
    """Whether no image arrived before the latest policy was saved."""
    if not saved or not len(population):
        return True
    latest = np.datetime64(saved[-1].astimezone(UTC).replace(tzinfo=None), "s")
    return bool(population.times.min() >= latest)


def _curve(
    population: Population, estimator: Estimator, audits: AuditPlan, history: Sample
) -> Curve:
    shares = [estimator.recall_and_precision(threshold) for threshold in THRESHOLDS]
    cells = np.minimum((population.scores * BINS).astype(int), BINS - 1)
    images = np.bincount(cells, minlength=BINS)
    middles = (np.arange(BINS) + 0.5) / BINS
    return Curve(
        thresholds=THRESHOLDS.tolist(),
        recall=[recall for recall, _ in shares],
        precision=[precision for _, precision in shares],
        bounds=recall_bounds(history, confidence=BOUND_CONFIDENCE, thresholds=THRESHOLDS).tolist(),
        images=images.tolist(),
        audits=[int(n) * audits.rate(float(m)) for n, m in zip(images, middles, strict=True)],
    )


def _histogram(sample: Sample, weights: NDArray[Any]) -> Histogram:
    tenths = np.minimum((sample.scores[sample.reviewed] * 10).astype(int), 9)
    labels = sample.labels[sample.reviewed]

    def weighted(label: int) -> list[float]:
        chosen = labels == label
        return [float(n) for n in np.bincount(tenths[chosen], weights[chosen], minlength=10)]

    return Histogram(weighted(UNSAFE), weighted(SAFE), np.bincount(tenths, minlength=10).tolist())


def _reliability(
    sample: Sample, probabilities: NDArray[Any], weights: NDArray[Any]
) -> list[ReliabilityPoint]:
    reviewed = sample.reviewed
    values = probabilities[reviewed]
    unsafe = sample.labels[reviewed] == UNSAFE
    cells = np.minimum((values * RELIABILITY_BINS).astype(int), RELIABILITY_BINS - 1)
    return [
        ReliabilityPoint(
            float(np.average(values[cells == cell], weights=weights[cells == cell])),
            proportion(unsafe[cells == cell], weights[cells == cell], confidence=CONFIDENCE),
        )
        for cell in np.unique(cells)
    ]
