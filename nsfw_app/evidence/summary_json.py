"""The JSON of a summary, for the page, the API and the report."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from nsfw_app.evidence.alarms import drift_alarms
from nsfw_app.evidence.calibration import Calibration
from nsfw_app.evidence.comparison import Comparison
from nsfw_app.evidence.policy_coverage import (
    certificate_json,
    other_model_doubts,
    policy_coverage,
)
from nsfw_app.evidence.strata import LEAST_SETTLED
from nsfw_app.evidence.summaries import DatedSummary, EvidenceQuery
from nsfw_app.evidence.summary import BOUND_CONFIDENCE, CONFIDENCE, Summary, headline
from nsfw_app.records import ModelIdentity

WAITING_SHARE = 0.2  # of drawn images; with more undecided, the estimates say so
PROVISIONAL_SHARE = 0.02  # of reviews; as errors wait more often, few of them matter
CURVE_POINTS = np.arange(101) / 100


def summary_json(
    dated: DatedSummary,
    query: EvidenceQuery,
    *,
    model_alarms: Sequence[str] = (),
    running: ModelIdentity | None = None,
) -> dict[str, Any]:
    """A summary as JSON; numbers are not rounded, an interval is value, lower, upper, reviews.

    Args:
        dated: The summary.
        query: What it is of.
        model_alarms: Those about the model that runs.
        running: The model that runs, where it does not count as the same one.
    """
    summary, identity = dated.summary, query.identity
    alarms = [*model_alarms, *drift_alarms(summary.comparison)]
    other = other_model_doubts(identity, running) if running else []
    coverage = policy_coverage(
        summary.certificate,
        summary.policy,
        recall=summary.allowed.recall,
        doubts=[*other, *alarms],
        source=query.source,
    )
    return {
        "headline": headline(summary, period=period_phrase(query.days)),
        "alarms": alarms,
        "warnings": warnings(summary),
        "computed_at": dated.computed_at.isoformat(),
        "outdated": dated.outdated,
        "model": identity.model,
        "revision": identity.revision,
        "weights_sha256": identity.weights_sha256,
        "days_selected": query.days,
        "source": query.source,
        "confidence": CONFIDENCE,
        "bound_confidence": BOUND_CONFIDENCE,
        "policy": asdict(summary.policy),
        "images": summary.images,
        "never_drawn": summary.never_drawn,
        "reviews": summary.reviews,
        "unsettled": summary.unsettled,
        "days": summary.days,
        "allowed": asdict(summary.allowed),
        "labeled": asdict(summary.labeled),
        "labeled_reviews": asdict(summary.labeled_reviews),
        "curve": asdict(summary.curve),
        "certificate": certificate_json(summary.certificate, coverage),
        "more_reviews": summary.more_reviews,
        "no_forecast": summary.no_forecast,
        "histogram": asdict(summary.histogram),
        "calibration": _calibration_json(summary.calibration),
        "reliability": [asdict(point) for point in summary.reliability],
        "reliability_calibrated": [asdict(point) for point in summary.reliability_calibrated],
        "errors": asdict(dated.errors),
        "decisions": asdict(dated.decisions),
        "drift": asdict(summary.comparison.scores),
        "disagreement_drift": asdict(summary.comparison.disagreements),
        "comparison": comparison_json(summary.comparison),
        "bounds_images": summary.bounds_images,
        "bounds_reviews": summary.bounds_reviews,
        "dispersion": summary.dispersion,
        "provisional": summary.provisional,
    }


def period_phrase(days: int | None) -> str:
    """A period within a sentence."""
    if days is None:
        return "since the first one"
    return "in the last day" if days == 1 else f"in the last {days} days"


def warnings(summary: Summary) -> list[str]:
    """Sentences about what the estimates assume because drawn images wait; empty if few do."""
    undecided = summary.unsettled - summary.provisional
    drawn = summary.reviews + undecided
    found = []
    if summary.provisional > PROVISIONAL_SHARE * summary.reviews:
        found.append(
            f"{summary.provisional:,} of {summary.reviews:,} reviewed images are not settled yet. "
            "The estimates count them with the label of most of their decisions, and at a tie with "
            "the one that the model does not give. Certificates take the worst case."
        )
    if undecided > WAITING_SHARE * drawn:
        found.append(
            f"{undecided:,} of {drawn:,} drawn images have no decision, or only unsure ones. The "
            "estimates take them to be like the reviewed ones of similar scores."
        )
    if summary.allowed.hardly_settled:
        found.append(
            f"{summary.allowed.hardly_settled:,} images have scores of which fewer than "
            f"{LEAST_SETTLED} drawn images are reviewed: ranges are wide until more are."
        )
    return found


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    """What the plots of drift need, without the two alarms."""
    found = asdict(comparison)
    del found["scores"], found["disagreements"]
    return found


def _calibration_json(calibration: Calibration | None) -> dict[str, Any] | None:
    if calibration is None:
        return None
    return {
        "method": calibration.method,
        "reviews": calibration.reviews,
        "probabilities": calibration(CURVE_POINTS).tolist(),
        "brier": asdict(calibration.brier),
        "log_loss": asdict(calibration.log_loss),
        "ece": asdict(calibration.ece),
    }
