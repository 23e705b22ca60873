"""What the Model tab says: the running model, its known limitations, the policy's versions."""

from nsfw_app.models import cards
from nsfw_app.models.artifacts import OptimizedModel
from nsfw_app.records import Policy
from nsfw_app.review.engine import Engine
from nsfw_app.store.policies import PolicyVersion
from nsfw_app.ui.components import Section


def model_facts(engine: Engine) -> list[Section]:
    """The tab's sections."""
    status, policy = engine.status, engine.policy
    if status.classifier is None:
        return [_section("Model", State=status.state, Wanted=status.wanted, Message=status.message)]
    identity = status.classifier.identity
    card = cards.card(identity.model)
    roles = ", ".join(f"{label} ({role})" for label, role in status.classifier.roles.items())
    return [
        _section(
            "Model",
            Name=card.name,
            Id=identity.model,
            Revision=identity.revision,
            Weights=f"SHA-256 {identity.weights_sha256}",
            Backend=identity.backend,
            License=card.license,
            Labels=roles,
            Preprocessing=card.preprocessing,
        ),
        *_optimized(engine, identity.backend, policy),
        _section(
            "Known limitations",
            **{"Claimed accuracy": card.claimed_accuracy, "Limitations": card.limits},
        ),
        _section(
            f"Policy, version {policy.version}",
            **{
                "Threshold": f"{policy.threshold:.2f}",
                "Review band": f"{policy.review_from:.2f} to {policy.review_to:.2f}",
                "Set by": policy.author or "settings",
                "Why": policy.reason or "not given",
                "Default threshold": f"{card.threshold:.2f}. {card.threshold_source}",
            },
        ),
        _section("Policy versions", **dict(map(_version, engine.policy_versions))),
    ]


def _version(saved: PolicyVersion) -> tuple[str, str]:
    """The row of a version: its numbers, who saved it, when and why."""
    policy = saved.policy
    when = f", {saved.created_at[:16].replace('T', ' ')} UTC" if saved.created_at else ""
    return f"Version {policy.version}", (
        f"Threshold {policy.threshold:.2f}, review {policy.review_from:.2f} to "
        f"{policy.review_to:.2f}. {policy.author or 'settings'}{when}: "
        f"{policy.reason or 'no reason given'}"
    )


def _optimized(engine: Engine, running: str, policy: Policy) -> list[Section]:
    """The optimized models, in use or not, and the attempts that were not kept."""
    rows = {a.format: _describe(a, running, policy) for a in engine.optimized_models}
    for attempt in engine.optimization_attempts:
        rows.setdefault(attempt.format, f"Tried by optimize. {attempt.outcome}")
    return [_section("Optimized models", **rows)] if rows else []


def _describe(optimized_model: OptimizedModel, running: str, policy: Policy) -> str:
    """Whether an optimized model is used, or why not; its parity report; its speed."""
    if running in {optimized_model.format, f"{optimized_model.format}-forced"}:
        use = "Runs now."
    elif optimized_model.incompatibility:
        use = f"Not used: {optimized_model.incompatibility}."
    elif not optimized_model.passes(policy):
        use = "Not used: too many labels change."
    elif not optimized_model.is_faster:
        use = "Not used: it is not faster here."
    else:
        use = "Verified, and does not run now."
    speed = f" {optimized_model.images_per_s:.1f} images a second."
    if optimized_model.original_images_per_s:
        speed = f"{speed[:-1]}, the original {optimized_model.original_images_per_s:.1f}."
    return f"{use} {optimized_model.report(policy).summary()}{speed}"


def _section(title: str, **rows: str) -> Section:
    return Section(title=title, rows=list(rows.items()))
