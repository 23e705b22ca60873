"""The Insights tab: agreement of the model with reviewers, and of reviewers with one another."""

from dataclasses import asdict
from typing import Any

import gradio as gr

from nsfw_app.evidence.agreement import Insights, ModelRecord, ReviewerAgreement
from nsfw_app.evidence.metrics import Agreement, Share, wilson_interval
from nsfw_app.review.left_out import hidden_sentence
from nsfw_app.rules.permissions import Caller, Permission
from nsfw_app.ui.components import InsightsReport
from nsfw_app.ui.handlers import INTERNAL, authorize, show_errors
from nsfw_app.web.page.log import blind_name


def create_insights_tab(insights: Insights, tab: gr.Tab) -> None:
    """One component; its value is computed whenever the tab is opened."""
    report = InsightsReport("insights")

    @show_errors
    def show(request: gr.Request) -> dict[str, Any]:
        return insights_json(insights, authorize(request, Permission.READ))

    tab.select(show, outputs=report, **INTERNAL)


def insights_json(insights: Insights, caller: Caller) -> dict[str, Any]:
    """The report as JSON.

    - A reviewer sees no decisions about images that still need their decision; `left_out` says how
      many, and is empty if there are none.
    """
    viewer = blind_name(caller)
    return {
        "left_out": hidden_sentence(insights.hidden(viewer)),
        "models": [_model_json(model) for model in insights.models(viewer=viewer)],
        "people": _reviewers_json(insights.people(viewer=viewer)),
    }


def _model_json(record: ModelRecord) -> dict[str, Any]:
    counts = record.confusion
    return {
        **asdict(record),
        "precision": _share_json(counts.precision),
        "recall": _share_json(counts.recall),
    }


def _reviewers_json(agreement: ReviewerAgreement) -> dict[str, Any]:
    return {
        "alpha": _agreement_json(agreement.alpha),
        "all_pairs": agreement.all_pairs,
        "pairs": [
            {"reviewers": [pair.first, pair.second], "kappa": _agreement_json(pair.kappa)}
            for pair in agreement.pairs
        ],
        "reviewers": [
            {**asdict(record.stats), "with_others": _share_json(record.with_others)}
            for record in agreement.reviewers
        ],
    }


def _agreement_json(agreement: Agreement) -> dict[str, Any]:
    return {**asdict(agreement), "same": _share_json(agreement.same)}


def _share_json(share: Share) -> dict[str, Any]:
    return {**asdict(share), "interval": wilson_interval(share)}
