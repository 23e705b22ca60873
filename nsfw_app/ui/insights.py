"""The Insights tab: evidence for a policy, and agreement of the model and of reviewers."""

import gradio as gr

from nsfw_app.evidence.agreement import Insights
from nsfw_app.rules.permissions import Permission
from nsfw_app.ui.components import EvidencePanel, InsightsReport
from nsfw_app.ui.handlers import INTERNAL, authorize, show_errors
from nsfw_app.ui.insights_json import InsightsJson, insights_json


def create_insights_tab(insights: Insights, tab: gr.Tab) -> EvidencePanel:
    """The evidence, and the agreement, which is computed whenever the tab is opened."""
    evidence = EvidencePanel("evidence")
    report = InsightsReport("insights")

    @show_errors
    def show(request: gr.Request) -> InsightsJson:
        return insights_json(insights, authorize(request, Permission.READ))

    tab.select(show, outputs=report, **INTERNAL)
    return evidence
