"""The Model tab: the running model, its known limitations, and the policy."""

import gradio as gr

from nsfw_app.review.engine import Engine
from nsfw_app.rules.permissions import Permission
from nsfw_app.ui.components import ModelReport, Section, TopBar
from nsfw_app.ui.handlers import INTERNAL, authorize, show_errors
from nsfw_app.ui.model_facts import model_facts
from nsfw_app.ui.policy_form import PolicyForm, create_policy_form


def create_model_tab(
    engine: Engine, tab: gr.Tab, topbar: TopBar, sliders: list[gr.Slider]
) -> PolicyForm:
    """Facts about the model and its policy, and the form that changes the policy."""
    facts = ModelReport("model-facts")
    form = create_policy_form(engine, facts, topbar, sliders)

    @show_errors
    def show(request: gr.Request) -> list[Section]:
        authorize(request, Permission.READ)
        return model_facts(engine)

    tab.select(show, outputs=facts, **INTERNAL)
    return form
