"""The Model tab: the running model, its known limitations, and the policy."""

from typing import Any

import gradio as gr

from nsfw_app.errors import ModelLoading, PolicyError
from nsfw_app.models import cards
from nsfw_app.models.artifacts import OptimizedModel
from nsfw_app.records import Policy
from nsfw_app.review.engine import Engine
from nsfw_app.rules.permissions import Permission
from nsfw_app.ui.components import ModelReport, Section, TopBar
from nsfw_app.ui.handlers import INTERNAL, authorize, show_errors

# Fills the form only once its fields are rendered.
FIELDS_RENDERED = """async () => {
    const form = await import(new URL('desk/assets/model/fieldsRendered.js', document.baseURI))
    await form.fieldsRendered()
    return []
}"""


def create_model_tab(engine: Engine, tab: gr.Tab, topbar: TopBar, sliders: list[gr.Slider]) -> None:
    """Facts about the model, and a form that saves a new policy and sets the sliders to it."""
    facts = ModelReport("model-facts")
    with gr.Accordion("Change the policy", open=False, elem_id="policy-form") as form:
        gr.Markdown(
            "Scores below the first number are allowed, scores from the last one on are blocked, "
            "reviewers decide between them. Scores are stored: earlier verdicts change too."
        )
        with gr.Row():
            review_from = gr.Number(label="Review from", minimum=0, maximum=1, step=0.01)
            threshold = gr.Number(label="Threshold", minimum=0, maximum=1, step=0.01)
            review_to = gr.Number(label="Review to", minimum=0, maximum=1, step=0.01)
        reason = gr.Textbox(label="Why", max_lines=2, placeholder="Kept with the policy")
        save = gr.Button("Save policy", elem_id="save-policy")
    fields = [review_from, threshold, review_to]
    version = gr.State()  # of the policy that the form was filled with

    @show_errors
    def show(request: gr.Request) -> list[Section]:
        authorize(request, Permission.READ)
        return model_facts(engine)

    @show_errors
    def fill(request: gr.Request) -> tuple[float, ...]:
        authorize(request, Permission.READ)
        if engine.status.classifier is None:  # a policy belongs to a model
            raise ModelLoading("No model runs yet. Close this form and open it later.")
        policy = engine.policy
        return policy.review_from, policy.threshold, policy.review_to, policy.version

    @show_errors
    def save_policy(
        low: float | None,
        middle: float | None,
        high: float | None,
        why: str,
        changed: int | None,
        request: gr.Request,
    ) -> tuple[Any, ...]:
        manager = authorize(request, Permission.MANAGE)
        if changed is None:
            raise PolicyError("The form is not filled yet. Close it and open it again.")
        if low is None or middle is None or high is None:
            raise PolicyError("A policy needs all three numbers.")
        policy = Policy(threshold=middle, review_from=low, review_to=high)
        saved = engine.save_policy(policy, author=manager.name, reason=why, replaces=changed)
        return model_facts(engine), "", saved.version, saved.version, *[middle] * len(sliders)

    tab.select(show, outputs=facts, **INTERNAL)
    form.expand(fill, outputs=[*fields, version], js=FIELDS_RENDERED, **INTERNAL)
    save.click(
        save_policy,
        inputs=[*fields, reason, version],
        outputs=[facts, reason, version, topbar, *sliders],
        **INTERNAL,
    )


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
    ]


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
