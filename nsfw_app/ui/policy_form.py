"""The form that changes the policy: its effect before and after, and the way back to a version."""

from dataclasses import dataclass, replace
from typing import Any, TypedDict

import gradio as gr

from nsfw_app.errors import ModelLoading, PolicyError
from nsfw_app.records import Action, Category, CategoryRule, Policy
from nsfw_app.review.engine import Engine
from nsfw_app.rules.permissions import Permission
from nsfw_app.store.policies import PolicyVersion
from nsfw_app.store.policy_effects import PolicyEffect
from nsfw_app.ui.components import EvidencePanel, ModelReport, TopBar
from nsfw_app.ui.handlers import INTERNAL, authorize, show_errors
from nsfw_app.ui.model_facts import CATEGORY_NAMES, model_facts

# Fills the form only once its fields are rendered.
FIELDS_RENDERED = """async (...values) => {
    const form = await import(new URL('desk/assets/model/fieldsRendered.js', document.baseURI))
    await form.fieldsRendered()
    return values
}"""
MODEL_TAB = "model"
OFF = "off"  # the action of a category without a rule
ACTIONS = [("No rule", OFF), ("Review", Action.REVIEW.value), ("Block", Action.BLOCK.value)]
DEFAULT_RULE = 0.5  # the threshold that a category without a rule shows
NO_EFFECT = "No stored image moves to another action."
ENTERING = (
    "Images that move to review do not enter the queue by themselves, but when they are classified "
    "again."
)


class Proposal(TypedDict):
    """What the threshold finder puts into the form: three numbers, and the evidence for them."""

    review_from: float
    threshold: float
    review_to: float
    reason: str


@dataclass(frozen=True)
class PolicyForm:
    """The form's components, for a proposal that is made elsewhere on the page."""

    engine: Engine
    form: gr.Accordion
    fields: list[gr.Component]
    version: gr.State
    earlier: gr.Dropdown
    reason: gr.Textbox

    def take_proposals(self, source: EvidencePanel, tabs: gr.Tabs) -> None:
        """Fill and show the form when a proposal is used; a person saves it."""

        @show_errors
        def take_proposal(event: gr.EventData, request: gr.Request) -> tuple[Any, ...]:
            authorize(request, Permission.MANAGE)
            policy, reason = proposal_of(event._data)
            return (
                gr.update(selected=MODEL_TAB),
                gr.update(open=True),
                *values_of(replace(policy, category_rules=self.engine.policy.category_rules)),
                *filled(self.engine),
                reason,
            )

        source.use(
            take_proposal,
            outputs=[tabs, self.form, *self.fields, self.version, self.earlier, self.reason],
            **INTERNAL,
        )


def create_policy_form(
    engine: Engine, facts: ModelReport, topbar: TopBar, sliders: list[gr.Slider]
) -> PolicyForm:
    """A form that saves a new policy, sets the sliders to it and releases waiting images."""
    with gr.Accordion("Change the policy", open=False, elem_id="policy-form") as form:
        gr.Markdown(
            "Scores below the first number are allowed, scores from the last one on are blocked, "
            "reviewers decide between them. Scores are stored: earlier verdicts change too."
        )
        with gr.Row():
            review_from = gr.Number(label="Review from", minimum=0, maximum=1, step=0.01)
            threshold = gr.Number(label="Threshold", minimum=0, maximum=1, step=0.01)
            review_to = gr.Number(label="Review to", minimum=0, maximum=1, step=0.01)
        rules = _rule_fields()
        earlier = gr.Dropdown([], label="Take the numbers of", filterable=False)
        effect = gr.Markdown(elem_id="policy-effect")
        release = gr.Checkbox(visible=False, elem_id="policy-release")
        reason = gr.Textbox(label="Why", max_lines=2, placeholder="Required; kept with the policy")
        save = gr.Button("Save policy", elem_id="save-policy")
        release_now = gr.Button(visible=False, elem_id="release-now")
    fields = [review_from, threshold, review_to, *rules]
    version = gr.State()  # of the policy that the form was filled with

    @show_errors
    def fill(request: gr.Request, *values: Any) -> tuple[Any, ...]:
        """Fill in the policy in force; a draft of its change, which has a reason, is kept."""
        authorize(request, Permission.READ)
        *draft, why, changed = values
        version_and_choices = filled(engine)
        keeps = why and changed == engine.policy.version
        return *(draft if keeps else values_of(engine.policy)), *version_and_choices

    @show_errors
    def take(chosen: int | None, request: gr.Request) -> tuple[Any, ...]:
        authorize(request, Permission.READ)
        return values_of(version_of(engine, chosen).policy)

    @show_errors
    def preview(request: gr.Request, *values: Any) -> tuple[Any, ...]:
        authorize(request, Permission.READ)
        return preview_of(engine, *values)

    @show_errors
    def save_policy(request: gr.Request, *values: Any) -> tuple[Any, ...]:
        manager = authorize(request, Permission.MANAGE)
        *entered, why, changed, chosen, releases = values
        if changed is None:
            raise PolicyError("The form is not filled yet. Close it and open it again.")
        policy = policy_of(*entered)
        found = engine.policy_effect(policy)
        saved = engine.save_policy(
            policy,
            author=manager.name,
            reason=why,
            replaces=changed,
            reverts_to=reverted(engine, chosen, policy),
        )
        released = engine.withdraw_outside_band(saved, actor=manager.name) if releases else 0
        return (
            model_facts(engine),
            "",
            saved.version,
            saved.version,
            saved_text(saved, found, released),
            *(release_hidden(), release_button(0 if releases else found.outside)),
            choices(engine),
            *[policy.threshold] * len(sliders),
        )

    @show_errors
    def release_waiting(filled: int | None, request: gr.Request) -> tuple[Any, ...]:
        manager = authorize(request, Permission.MANAGE)
        policy = engine.policy
        if policy.version != filled:
            raise PolicyError("The policy has changed. Close this form and open it again.")
        released = engine.withdraw_outside_band(policy, actor=manager.name)
        return released_text(released), release_button(0)

    form.expand(
        fill,
        inputs=[*fields, reason, version],
        outputs=[*fields, version, earlier],
        js=FIELDS_RENDERED,
        **INTERNAL,
    ).then(preview, inputs=fields, outputs=[effect, release, release_now], **INTERNAL)
    earlier.input(take, inputs=earlier, outputs=fields, **INTERNAL)
    gr.on(
        [field.change for field in fields],
        preview,
        inputs=fields,
        outputs=[effect, release, release_now],
        trigger_mode="always_last",
        **INTERNAL,
    )
    save.click(
        save_policy,
        inputs=[*fields, reason, version, earlier, release],
        outputs=[
            *(facts, reason, version, topbar, effect, release, release_now, earlier),
            *sliders,
        ],
        **INTERNAL,
    )
    release_now.click(release_waiting, inputs=version, outputs=[effect, release_now], **INTERNAL)
    return PolicyForm(engine, form, fields, version, earlier, reason)


def filled(engine: Engine) -> tuple[int, Any]:
    """The version that the form is filled to replace, and the choices of earlier ones.

    Raises:
        ModelLoading: No model runs yet, and a policy belongs to a model.
    """
    if engine.status.classifier is None:
        raise ModelLoading("No model runs yet. Close this form and open it later.")
    return engine.policy.version, choices(engine)


def proposal_of(data: Proposal) -> tuple[Policy, str]:
    """The policy and the reason of a proposal, as the browser sends it.

    Raises:
        PolicyError: A number is missing or is none, or they are out of order.
    """
    names = ("review_from", "threshold", "review_to")
    found = data if isinstance(data, dict) else {}
    low, middle, high = (
        value if isinstance(value := found.get(name), int | float) else None for name in names
    )
    return policy_of(low, middle, high), str(found.get("reason", ""))


def policy_of(low: float | None, middle: float | None, high: float | None, *rules: Any) -> Policy:
    """The policy of the form's fields.

    Args:
        low: Where the review band begins.
        middle: The threshold.
        high: Where the review band ends.
        rules: The action and the threshold of each category, in the order of categories.

    Raises:
        PolicyError: A number is missing or not allowed, or they are out of order.
    """
    if low is None or middle is None or high is None:
        raise PolicyError("A policy needs all three numbers.")
    found = []
    for category, action, at in zip(Category, rules[::2], rules[1::2], strict=False):
        if action not in {None, OFF}:
            if at is None:
                raise PolicyError(f"The rule of {CATEGORY_NAMES[category]} needs a threshold.")
            found.append(CategoryRule(category, at, Action(action)))
    return Policy(threshold=middle, review_from=low, review_to=high, category_rules=tuple(found))


def values_of(policy: Policy) -> tuple[Any, ...]:
    """The values of the form's fields: the three numbers, then the rules of categories."""
    rules = {rule.category: rule for rule in policy.category_rules}
    values: list[Any] = [*numbers(policy)]
    for category in Category:
        rule = rules.get(category)
        values += [rule.action.value, rule.threshold] if rule else [OFF, DEFAULT_RULE]
    return tuple(values)


def _rule_fields() -> list[gr.Component]:
    """An action and a threshold for each category."""
    fields: list[gr.Component] = []
    with gr.Accordion("Rules of categories", open=False, elem_id="policy-rules"):
        gr.Markdown(
            "From its threshold on, the probability of a category sends an image to review, or "
            "blocks it. A rule never makes an action less severe. What the first model's score "
            "alone allows, rules change only with `NSFW_DETAIL_WHEN=always`."
        )
        for category in Category:
            with gr.Row():
                name = CATEGORY_NAMES[category]
                fields += [
                    gr.Dropdown(ACTIONS, value=OFF, label=f"{name}: action", filterable=False),
                    gr.Number(
                        value=DEFAULT_RULE,
                        label=f"{name}: threshold",
                        minimum=0,
                        maximum=1,
                        step=0.01,
                    ),
                ]
    return fields


def numbers(policy: Policy) -> tuple[float, float, float]:
    """The three numbers, in the order of their fields."""
    return policy.review_from, policy.threshold, policy.review_to


def version_of(engine: Engine, number: int | None) -> PolicyVersion:
    """A version of the running model's policy.

    Raises:
        PolicyError: There is none of this number.
    """
    for saved in engine.policy_versions:
        if saved.policy.version == number:
            return saved
    raise PolicyError(f"There is no version {number} of this policy.")


def reverted(engine: Engine, chosen: int | None, policy: Policy) -> int | None:
    """The chosen version, if the policy still has its numbers and rules."""
    if chosen is None or values_of(version_of(engine, chosen).policy) != values_of(policy):
        return None
    return chosen


def choices(engine: Engine) -> Any:
    """The earlier versions, to take their numbers from; none is chosen."""
    earlier = [saved.policy for saved in engine.policy_versions[1:]]
    named = [
        (
            f"Version {p.version}: {p.review_from:g}, {p.threshold:g}, {p.review_to:g}"
            + (f", {len(p.category_rules)} rules" if p.category_rules else ""),
            p.version,
        )
        for p in earlier
    ]
    return gr.update(choices=named, value=None, visible=bool(named))


def preview_of(engine: Engine, *values: Any) -> tuple[str, Any, Any]:
    """The effect that the fields' policy would have, and the controls that release waiting images.

    A checkbox releases them with the policy that is saved, a button under the policy in force.
    """
    try:
        policy = policy_of(*values)
        effect = engine.policy_effect(policy)
    except PolicyError as error:
        return str(error), release_hidden(), release_button(0)
    if not effect.outside:
        return moves_text(effect, "move"), release_hidden(), release_button(0)
    text = f"{moves_text(effect, 'move')} {outside_text(effect.outside)}."
    if values_of(policy) == values_of(engine.policy):
        return text, release_hidden(), release_button(effect.outside)
    label = f"Release {_images(effect.outside)}"
    return text, gr.update(value=False, visible=True, label=label), release_button(0)


def release_hidden() -> Any:
    """The checkbox, hidden."""
    return gr.update(value=False, visible=False)


def release_button(images: int) -> Any:
    """The button that releases so many images at once; none hides it."""
    return gr.update(value=f"Release {_images(images)} now", visible=images > 0)


def saved_text(policy: Policy, effect: PolicyEffect, released: int) -> str:
    """What a saved policy changed."""
    text = f"Saved as version {policy.version}. {moves_text(effect, 'moved')}"
    if released:
        return f"{text} {released_text(released)}"
    if effect.outside:
        return f"{text} {outside_text(effect.outside)} and still {_verb(effect.outside, 'wait')}."
    return text


def released_text(released: int) -> str:
    """How many waiting images were released."""
    were = "was" if released == 1 else "were"
    return f"{_images(released, 'waiting ')} {were} released, without a decision."


def moves_text(effect: PolicyEffect, verb: str) -> str:
    """How many images move between actions; `verb` is move or moved."""
    if not effect.moves:
        return NO_EFFECT
    parts = [
        f"{_images(move.images)} {verb if verb != 'move' else _verb(move.images, verb)} "
        f"from {move.before} to {move.after}"
        for move in effect.moves
    ]
    entering = any(move.after == "review" for move in effect.moves)
    return ", ".join(parts) + "." + (f" {ENTERING}" if entering else "")


def outside_text(images: int) -> str:
    """How many waiting images are outside of the review band."""
    return f"{_images(images, 'waiting ')} {_verb(images, 'fall')} outside of the band"


def _images(count: int, kind: str = "") -> str:
    return f"{count:,} {kind}{'image' if count == 1 else 'images'}"


def _verb(count: int, verb: str) -> str:
    return f"{verb}s" if count == 1 else verb
