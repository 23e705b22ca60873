"""What the Model tab says: the models, their known limitations, the policy's versions."""

from collections.abc import Sequence

from nsfw_app.models import cards
from nsfw_app.models.artifacts import OptimizedModel
from nsfw_app.models.build_files import Attempt
from nsfw_app.models.categories import BY_CARD, CategoryMap
from nsfw_app.models.classifier import Classifier
from nsfw_app.records import Category, Policy
from nsfw_app.review.engine import Engine
from nsfw_app.rules.detail import DetailWhen
from nsfw_app.store.policies import PolicyVersion
from nsfw_app.ui.components import Section

CATEGORY_NAMES = {
    Category.SEXUAL_EXPLICIT: "Sexual, explicit",
    Category.SEXUAL_SUGGESTIVE: "Sexual, suggestive",
    Category.NUDITY: "Nudity",
    Category.DRAWING: "Drawing",
    Category.GORE_OR_VIOLENCE: "Gore or violence",
    Category.SELF_HARM: "Self-harm",
    Category.OTHER: "Other",
}
ASKED_ABOUT = {
    DetailWhen.FLAGGED: "Images that the first model's score does not allow.",
    DetailWhen.ALWAYS: "All images.",
}


def model_facts(engine: Engine) -> list[Section]:
    """The tab's sections."""
    status, policy = engine.status, engine.policy
    if status.classifier is None:
        return [_section("Model", State=status.state, Wanted=status.wanted, Message=status.message)]
    identity = status.classifier.identity
    card = cards.card(identity.model)
    return [
        _section(
            "Model", **_identity(status.classifier, BY_CARD), Preprocessing=card.preprocessing
        ),
        *_optimized(
            "Optimized models",
            engine.optimized_models,
            engine.optimization_attempts,
            identity.backend,
            policy,
        ),
        _section(
            "Known limitations",
            **{"Claimed accuracy": card.claimed_accuracy, "Limitations": card.limits},
        ),
        *_detail(engine),
        _section(
            f"Policy, version {policy.version}",
            **{
                "Threshold": f"{policy.threshold:.2f}",
                "Review band": f"{policy.review_from:.2f} to {policy.review_to:.2f}",
                "Set by": policy.author or "settings",
                "Why": policy.reason or "not given",
                "Default threshold": f"{card.threshold:.2f}. {card.threshold_source}",
                **_rules(policy),
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
        f"{policy.review_to:.2f}{_rules_text(policy)}. {policy.author or 'settings'}{when}: "
        f"{policy.reason or 'no reason given'}"
    )


def _identity(classifier: Classifier, categories: CategoryMap) -> dict[str, str]:
    """What a model is, and what its labels mean."""
    identity, roles = classifier.identity, classifier.roles
    card = cards.card(identity.model)
    rows = {
        "Name": card.name,
        "Id": identity.model,
        "Revision": identity.revision,
        "Weights": f"SHA-256 {identity.weights_sha256}",
        "Backend": identity.backend,
        "License": card.license,
        "Labels": ", ".join(f"{label} ({role})" for label, role in roles.items()),
    }
    mapped = categories.of(identity.model, roles)
    if mapped:
        rows["Categories"] = "; ".join(
            f"{label}: {', '.join(CATEGORY_NAMES[category] for category in found)}"
            for label, found in mapped.items()
        )
    return rows


def _detail(engine: Engine) -> list[Section]:
    """The detail model; nothing where there is none."""
    detail = engine.detail
    if detail is None:
        return []
    status = detail.status
    if status.classifier is None:
        failed = _section(
            "Detail model", State=status.state, Wanted=status.wanted, Message=status.message
        )
        return [failed]
    identity = status.classifier.identity
    card, policy = cards.card(identity.model), engine.policies.of(identity.model)
    return [
        _section(
            "Detail model",
            **_identity(status.classifier, detail.categories),
            **{
                "Asked about": ASKED_ABOUT[detail.when],
                "Claimed accuracy": card.claimed_accuracy,
                "Limitations": card.limits,
                **({"Message": status.message} if status.message else {}),
            },
        ),
        *_optimized(
            "Optimized detail models",
            detail.optimized_models,
            detail.optimization_attempts,
            identity.backend,
            policy,
        ),
    ]


def _rules(policy: Policy) -> dict[str, str]:
    """A row for each rule of a category."""
    return {
        CATEGORY_NAMES[rule.category]: f"{rule.action} from {rule.threshold:.2f}"
        for rule in policy.category_rules
    }


def _rules_text(policy: Policy) -> str:
    texts = (f"{name} {text}" for name, text in _rules(policy).items())
    return "".join(f", {text}" for text in texts)


def _optimized(
    title: str,
    models: Sequence[OptimizedModel],
    attempts: Sequence[Attempt],
    running: str,
    policy: Policy,
) -> list[Section]:
    """The optimized models, in use or not, and the attempts that were not kept."""
    rows = {a.format: _describe(a, running, policy) for a in models}
    for attempt in attempts:
        rows.setdefault(attempt.format, f"Tried by optimize. {attempt.outcome}")
    return [_section(title, **rows)] if rows else []


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
