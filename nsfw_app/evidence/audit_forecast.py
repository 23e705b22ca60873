"""The audit plan that is proposed for a model, and the sentences that explain it.

- It is a forecast from the scores seen so far; the certificate itself does not depend on it.
- Probabilities are those of the calibration in force, or else of one that is fitted to the reviews
  so far. With too few of them they are the scores themselves.
"""

from collections.abc import Collection
from dataclasses import dataclass

from nsfw_app.evidence.audit_design import LEAST_WITHOUT_IMAGES, AuditProposal, propose_audits
from nsfw_app.evidence.calibration import fit_calibration
from nsfw_app.evidence.calibrations import parse_curve
from nsfw_app.evidence.html_page import percent, target_percent
from nsfw_app.evidence.summaries import Summaries
from nsfw_app.records import ModelIdentity, Policy
from nsfw_app.rules.queue import QueueReason


@dataclass(frozen=True, slots=True)
class AuditForecast:
    """A proposal, the target, and what it was computed from.

    `calibration_version` is None where no calibration is in force, `calibration_reviews` where the
    scores are not calibrated.
    """

    identity: ModelIdentity
    policy: Policy
    recall: float
    confidence: float
    max_reviews_a_day: float | None
    images: int
    images_a_day: float
    calibration_version: int | None
    calibration_reviews: int | None
    proposal: AuditProposal

    def introduction(self) -> list[str]:
        """What the proposal is computed from."""
        if self.calibration_reviews is None:
            source = "the uncalibrated scores: there are few reviews, so the forecast is rough"
        else:
            version = self.calibration_version
            named = "a calibration" if version is None else f"calibration version {version}"
            source = f"{named}, of {self.calibration_reviews:,} reviews"
        policy = self.policy
        return [
            f"Model {self.identity.model}: {self.images:,} images, {self.images_a_day:,.0f} a "
            f"day. Policy version {policy.version} reviews scores from {policy.review_from:g} to "
            f"{policy.review_to:g}.",
            f"Probabilities are from {source}.",
            f"Expected recall at {policy.review_from:g}: "
            f"{_plain(percent(self.proposal.expected_recall))}.",
        ]

    def outcome(self) -> str:
        """What the plan costs, or why there is none."""
        proposal = self.proposal
        if proposal.plan is not None:
            return (
                f"About {proposal.reviews:,} reviews, {proposal.reviews_a_day:,.0f} a day for "
                f"{_days(proposal.days)}, are expected to certify a recall of "
                f"{_target(self.recall)} at a confidence of {_target(self.confidence)}. It may "
                f"take twice as long.{self._assumption()}"
            )
        if proposal.expected_recall > self.recall:
            most = self.max_reviews_a_day
            limit = "" if most is None else f" within {most:g} reviews a day"
            return (
                f"No plan is expected to certify {_target(self.recall)}{limit}. Allow more "
                "reviews, or lower the target."
            )
        return (
            f"No plan certifies {_target(self.recall)}: the recall that is expected at "
            f"{proposal.threshold:g} does not exceed it. Lower the policy's 'review from', or the "
            "target."
        )

    def _assumption(self) -> str:
        """What is assumed of scores that no image has had."""
        if not self.proposal.assumed:
            return ""
        named = _listed([f"{each.lower:g} to {each.upper:g}" for each in self.proposal.assumed])
        rates = _listed([f"{100 * each.rate:g} %" for each in self.proposal.assumed])
        return (
            f" No image had a score from {named} so far. The rate there is {rates}: that of the "
            f"nearest range with images, at least {100 * LEAST_WITHOUT_IMAGES:g} %."
        )

    def settings(self, rules: Collection[QueueReason]) -> list[str]:
        """The lines to set, given the queue rules in use; none without a plan."""
        if self.proposal.plan is None:
            return []
        lines = [f"NSFW_AUDIT_PLAN={self.proposal.plan}"]
        if QueueReason.AUDIT not in rules:
            named = [reason for reason in QueueReason if reason in rules]
            lines.append(f"NSFW_QUEUE_RULES={','.join([*named, QueueReason.AUDIT])}")
        return lines


def forecast_audits(
    summaries: Summaries,
    identity: ModelIdentity,
    policy: Policy,
    *,
    recall: float,
    confidence: float,
    max_reviews_a_day: float | None = None,
) -> AuditForecast:
    """Propose the audit plan that certifies a recall with the fewest reviews.

    Args:
        summaries: The images that arrived, and the calibrations.
        identity: The model.
        policy: In force; its band is reviewed whole.
        recall: The target, in (0, 1).
        confidence: Of the certificate, in (0, 1).
        max_reviews_a_day: Most images that people can review in a day.
    """
    population = summaries.population(identity)
    stored = summaries.calibrations.of(identity)
    fitted = None if stored else fit_calibration(population.estimated)
    curve = parse_curve(stored.curve) if stored else fitted and fitted.curve
    used = stored or fitted
    scores = population.scores
    images_a_day = len(scores) / (population.days or 1)
    proposal = propose_audits(
        scores,
        curve(scores) if curve else scores,
        policy,
        recall=recall,
        confidence=confidence,
        images_a_day=images_a_day,
        max_reviews_a_day=max_reviews_a_day,
        rates_before=population.sample.probabilities,
    )
    return AuditForecast(
        identity,
        policy,
        recall,
        confidence,
        max_reviews_a_day,
        len(scores),
        images_a_day,
        stored.version if stored else None,
        used.reviews if used else None,
        proposal,
    )


def _days(days: float | None) -> str:
    """A time within a sentence; never 0 days."""
    if days is None or days < 1:
        return "less than a day"
    return "about a day" if days < 1.5 else f"about {days:,.0f} days"


def _listed(words: list[str]) -> str:
    return " and ".join(words)


def _target(share: float) -> str:
    return _plain(target_percent(share))


def _plain(text: str) -> str:
    """With a space that every terminal and font has."""
    return text.replace("\u00a0", " ")
