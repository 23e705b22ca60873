"""The Model tab: what is running, what is known of it, and the policy it is judged by."""

from typing import Any

import gradio as gr

from nsfw_app.errors import ModelLoading, PolicyError
from nsfw_app.models import cards
from nsfw_app.models.artifacts import OptimizedModel
from nsfw_app.records import Policy
from nsfw_app.review.engine import Engine
from nsfw_app.rules.permissions import Permission
from nsfw_app.ui.render import permitted, region, shown

Sections = list[dict[str, Any]]
# Gradio sets what is not drawn yet a second time, right after drawing it, over what was typed.
DRAWN = """async () => {
    const fields = '#policy-form input[type=number], #policy-form textarea'
    for (let frames = 0; frames < 600; frames++) {
        if (document.querySelectorAll(fields).length === 4) break
        await new Promise(requestAnimationFrame)
    }
    return []
}"""


def create_model_tab(engine: Engine, tab: gr.Tab, sliders: list[gr.Slider]) -> None:
    """Facts about the model, and a form that saves a new policy and moves the sliders to it."""
    facts = region("model-facts", script="facts.js")
    with gr.Accordion("Change the policy", open=False, elem_id="policy-form") as form:
        gr.Markdown(
            "Allowed below the first number, a person decides up to the last, blocked from there "
            "upwards. Scores are stored, so earlier images are judged anew."
        )
        with gr.Row():
            review_from = gr.Number(label="Review from", minimum=0, maximum=1, step=0.01)
            threshold = gr.Number(label="Threshold", minimum=0, maximum=1, step=0.01)
            review_to = gr.Number(label="Review to", minimum=0, maximum=1, step=0.01)
        reason = gr.Textbox(label="Why", max_lines=2, placeholder="Kept with the policy")
        save = gr.Button("Save policy", elem_id="save-policy")
    fields = [review_from, threshold, review_to]
    version = gr.State()  # of the policy that stands in the form

    @shown
    def show(request: gr.Request) -> Sections:
        permitted(request, Permission.READ)
        return model_facts(engine)

    @shown
    def fill(request: gr.Request) -> tuple[float, ...]:
        permitted(request, Permission.READ)
        if engine.status.classifier is None:  # whose policy it would be is not known yet
            raise ModelLoading("No model runs yet. Close this form and open it later.")
        policy = engine.policy
        return policy.review_from, policy.threshold, policy.review_to, policy.version

    @shown
    def save_policy(
        low: float | None,
        middle: float | None,
        high: float | None,
        why: str,
        changed: int | None,
        request: gr.Request,
    ) -> tuple[Any, ...]:
        manager = permitted(request, Permission.MANAGE)
        if changed is None:
            raise PolicyError("Nothing stood in this form yet. Close it and open it again.")
        if low is None or middle is None or high is None:
            raise PolicyError("A policy needs all three numbers.")
        policy = Policy(threshold=middle, review_from=low, review_to=high)
        saved = engine.save_policy(policy, author=manager.name, reason=why, replaces=changed)
        return model_facts(engine), "", saved.version, *[middle] * len(sliders)

    quietly: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    tab.select(show, outputs=facts, **quietly)
    form.expand(fill, outputs=[*fields, version], js=DRAWN, **quietly)
    saved = save.click(
        save_policy,
        inputs=[*fields, reason, version],
        outputs=[facts, reason, version, *sliders],
        **quietly,
    )
    saved.success(None, js="() => document.dispatchEvent(new Event('policy:saved'))", **quietly)


def model_facts(engine: Engine) -> Sections:
    """Everything the tab shows, as headings with names and texts."""
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
            Licence=card.license,
            Labels=roles,
            Preprocessing=card.preprocessing,
        ),
        *_optimized(engine, identity.backend, policy),
        _section(
            "What is known of it",
            **{"Claimed accuracy": card.claimed_accuracy, "Known limits": card.limits},
        ),
        _section(
            f"Policy, version {policy.version}",
            **{
                "Threshold": f"{policy.threshold:.2f}",
                "Review band": f"{policy.review_from:.2f} to {policy.review_to:.2f}",
                "Set by": policy.author or "settings",
                "Why": policy.reason or "not said",
                "Default threshold": f"{card.threshold:.2f}. {card.threshold_source}",
            },
        ),
    ]


def _optimized(engine: Engine, running: str, policy: Policy) -> Sections:
    """What is known of the model's optimized models, used or not, and of what was not kept."""
    rows = {a.format: _told(a, running, policy) for a in engine.optimized_models}
    for attempt in engine.optimization_attempts:
        rows.setdefault(attempt.format, f"Tried by optimize. {attempt.outcome}")
    return [_section("Optimized models", **rows)] if rows else []


def _told(optimized_model: OptimizedModel, running: str, policy: Policy) -> str:
    """Whether an artefact is used, and why not, its report and its speed."""
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


def _section(title: str, **rows: str) -> dict[str, Any]:
    return {"title": title, "rows": list(rows.items())}
