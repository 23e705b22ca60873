"""`audit-plan`: propose the audit rates that certify a recall with the fewest reviews."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nsfw_app.cli.evidence import open_evidence

if TYPE_CHECKING:
    from nsfw_app.evidence.audit_forecast import AuditForecast

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
    from nsfw_app.evidence.audit_forecast import forecast_audits  # with scipy; slow to import

    for option, value in (("--recall", recall), ("--confidence", confidence)):
        if not 0 < value < 1:
            raise typer.BadParameter(f"{option} is {value:g}, expected a number between 0 and 1.")
    evidence = open_evidence()
    identity = evidence.identity(model)
    found = forecast_audits(
        evidence.summaries,
        identity,
        evidence.policies.of(identity.model),
        recall=recall,
        confidence=confidence,
        max_reviews_a_day=max_reviews_a_day,
    )
    proposal = found.proposal
    if as_json:
        typer.echo(json.dumps(_json(found)))
    else:
        typer.echo("\n".join(found.introduction()))
        if proposal.plan:
            lines = found.settings(evidence.settings.queue_rules)
            words = [found.outcome(), "Set, and restart the server:", *lines]
            typer.echo("\n".join(words))
    if proposal.plan is None:
        typer.echo(found.outcome(), err=True)
        raise typer.Exit(EXIT_NO_PLAN)


def _json(found: "AuditForecast") -> dict[str, Any]:
    proposal = found.proposal
    return {
        "model": found.identity.model,
        "revision": found.identity.revision,
        "recall": found.recall,
        "confidence": found.confidence,
        "images": found.images,
        "images_a_day": found.images_a_day,
        "policy_version": found.policy.version,
        "threshold": proposal.threshold,
        "calibration_version": found.calibration_version,
        "expected_recall": proposal.expected_recall,
        "plan": str(proposal.plan) if proposal.plan else None,
        "reviews": proposal.reviews,
        "reviews_a_day": proposal.reviews_a_day,
        "days": proposal.days,
        "without_images": ",".join(map(str, proposal.assumed)),
    }
