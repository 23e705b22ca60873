"""The page: a Gradio Blocks, one module per tab, and the scripts in `assets/`.

Gradio owns tabs, sliders, filters, forms and their calls to Python. What is drawn per image is
drawn in the browser from JSON, so that a slider updates verdicts without a request.
"""

from pathlib import Path

import gradio as gr

from nsfw_app.concurrency_limits import GRADIO_QUEUE
from nsfw_app.evidence.agreement import Insights
from nsfw_app.review.engine import Engine
from nsfw_app.rules.permissions import Permission
from nsfw_app.ui.api import add_endpoints
from nsfw_app.ui.components import Region, TopBar
from nsfw_app.ui.gallery import create_gallery_tab
from nsfw_app.ui.handlers import INTERNAL, authorize, show_errors
from nsfw_app.ui.insights import create_insights_tab
from nsfw_app.ui.log import create_log_tab
from nsfw_app.ui.model import create_model_tab
from nsfw_app.ui.policy_text import create_policy_text
from nsfw_app.ui.queue import create_queue_tab
from nsfw_app.ui.relabel import create_relabel_tab
from nsfw_app.ui.review import create_review_tab
from nsfw_app.ui.theme import theme
from nsfw_app.web.app import Page

ASSETS = Path(__file__).parent / "assets"
# Later ones override earlier ones.
STYLES = """
    shared/tokens shared/base shared/topBar shared/notices shared/preview shared/recentDecisions
    shared/verdict shared/categories shared/decision shared/reviewPanel review/review
    gallery/gallery gallery/grid gallery/uploads queue/queue relabel/relabel shared/loupe
    shared/heatMap shared/wellness shared/access shared/policyText insights/insights
    insights/evidence insights/charts log/log model/definitionList shared/narrow shared/forcedColors
""".split()


def build_ui(engine: Engine, insights: Insights, *, policy_text: str | None = None) -> Page:
    """The page of an engine, ready to be mounted.

    Args:
        engine: Classifies images and records decisions.
        insights: What the Insights tab shows.
        policy_text: The moderation policy in Markdown; None hides it.
    """
    with gr.Blocks(title="NSFW Review", fill_width=True, analytics_enabled=False) as blocks:
        topbar = TopBar("topbar")
        Region("model-banner")
        with gr.Tabs(elem_id="tabs") as tabs:
            with gr.Tab("Review", id="review"):
                review_threshold = create_review_tab()
            with gr.Tab("Gallery", id="gallery"):
                gallery_threshold = create_gallery_tab()
            with gr.Tab("Queue", id="queue"):
                create_queue_tab()
            with gr.Tab("Relabel", id="relabel"):
                create_relabel_tab()
            sliders = [review_threshold, gallery_threshold]
            with gr.Tab("Insights", id="insights") as insights_tab:
                evidence = create_insights_tab(insights, insights_tab)
            with gr.Tab("Log", id="log"):
                create_log_tab()
            with gr.Tab("Model", id="model") as model_tab:
                form = create_model_tab(engine, model_tab, topbar, sliders)
            form.take_proposals(evidence, tabs)
        create_policy_text(policy_text, topbar)

        @show_errors
        def thresholds(request: gr.Request) -> list[float]:
            authorize(request, Permission.PAGE)
            return [engine.policy.threshold] * len(sliders)

        topbar.ready(thresholds, outputs=sliders, **INTERNAL)
        add_endpoints(engine)
    blocks.queue(api_open=False, max_size=GRADIO_QUEUE)
    options = {"theme": theme(), "css_paths": [ASSETS / f"{name}.css" for name in STYLES]}
    return Page(blocks, ASSETS, options)
