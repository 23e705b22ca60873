"""`audit-plan`: propose the audit rates that certify a recall with the fewest reviews."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nsfw_app.cli.evidence import open_evidence, percent
from nsfw_app.evidence.calibrations import parse_curve
from nsfw_app.records import Policy
from nsfw_app.rules.queue import QueueReason
from nsfw_app.settings import Settings
from nsfw_app.store.calibrations import StoredCalibration

if TYPE_CHECKING:
    from nsfw_app.evidence.audit_design import AuditProposal

EXIT_NO_PLAN = 1


def audit_plan(
    recall: Annotated[
        float, typer.Option(help="Share of unsafe images that must not be allowed, below 1.")
    ] = 0.95,
    confidence: Annotated[
        float, typer.Option(help="Confidence of the certificate, below 1.")
    ] = 0.9,
    max_reviews_a_day: Annotated[
        float | None, typer.Option(min=0, help="Most images that people can review in a day.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="The model whose scores are used; NSFW_MODEL by default.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Propose NSFW_AUDIT_PLAN: rates that certify a recall with the fewest reviews.

    A forecast from the scores seen so far; the certificate itself does not depend on it. Exits 1
    if no plan is expected to do.
    """
    from nsfw_app.evidence.audit_design import propose_audits  # with scipy; slow to import

    for option, value in (("--recall", recall), ("--confidence", confidence)):
        if not 0 < value < 1:
            raise typer.BadParameter(f"{option} is {value:g}, expected a number between 0 and 1.")
    evidence = open_evidence()
    identity = evidence.identity(model)
    policy = evidence.policies.of(identity.model)
    population = evidence.summaries.population(identity)
    calibration = evidence.summaries.calibrations.of(identity)
    scores = population.scores
    images_a_day = len(scores) / (population.days or 1)
    proposal = propose_audits(
        scores,
        parse_curve(calibration.curve)(scores) if calibration else scores,
        policy,
        recall=recall,
        confidence=confidence,
        images_a_day=images_a_day,
        max_reviews_a_day=max_reviews_a_day,
    )
    values = {
        "model": identity.model,
        "revision": identity.revision,
        "recall": recall,
        "confidence": confidence,
        "images": len(scores),
        "images_a_day": images_a_day,
        "policy_version": policy.version,
        "threshold": proposal.threshold,
        "calibration_version": calibration.version if calibration else None,
        "expected_recall": proposal.expected_recall,
        "plan": str(proposal.plan) if proposal.plan else None,
        "reviews": proposal.reviews,
        "reviews_a_day": proposal.reviews_a_day,
        "days": proposal.days,
    }
    if as_json:
        typer.echo(json.dumps(values))
    else:
        typer.echo(_introduction(values, policy, calibration))
        if proposal.plan:
            typer.echo(_proposal(values, evidence.settings))
    if proposal.plan is None:
        typer.echo(_why_none(proposal, recall, max_reviews_a_day), err=True)
        raise typer.Exit(EXIT_NO_PLAN)


def _introduction(
    values: dict[str, Any], policy: Policy, calibration: StoredCalibration | None
) -> str:
    """What the proposal is computed from."""
    source = (
        f"calibration version {calibration.version}, of {calibration.reviews:,} reviews"
        if calibration
        else "the uncalibrated scores: no calibration is in force, so the forecast is rough"
    )
    return (
        f"Model {values['model']}: {values['images']:,} images, {values['images_a_day']:,.0f} a "
        f"day. Policy version {policy.version} reviews scores from {policy.review_from:g} to "
        f"{policy.review_to:g}.\n"
        f"Probabilities are from {source}.\n"
        f"Expected recall at {policy.review_from:g}: {percent(values['expected_recall'])}."
    )


def _proposal(values: dict[str, Any], chosen: Settings) -> str:
    """The plan, what it costs, and what to set."""
    rules = [*chosen.queue_rules]
    lines = [
        f"About {values['reviews']:,} reviews, {values['reviews_a_day']:,.0f} a day for "
        f"{values['days']:,.0f} days, are expected to certify a recall of "
        f"{percent(values['recall'])} at a confidence of {percent(values['confidence'])}.",
        "Set, and restart the server:",
        f"NSFW_AUDIT_PLAN={values['plan']}",
    ]
    if QueueReason.AUDIT not in rules:
        lines.append(f"NSFW_QUEUE_RULES={','.join([*rules, QueueReason.AUDIT])}")
    return "\n".join(lines)


def _why_none(proposal: "AuditProposal", recall: float, max_reviews_a_day: float | None) -> str:
    if proposal.expected_recall > recall:
        limit = "" if max_reviews_a_day is None else f" within {max_reviews_a_day:g} reviews a day"
        return (
            f"No plan is expected to certify {percent(recall)}{limit}. Allow more reviews, or "
            "lower the target."
        )
    return (
        f"No plan certifies {percent(recall)}: the recall that is expected at "
        f"{proposal.threshold:g} does not exceed it. Lower the policy's 'review from', or the "
        "target."
    )
