"""The page: a Gradio Blocks of tabs, drawn by the scripts in `assets/`.

Gradio keeps the tabs, sliders, filters and forms and speaks to Python; what depends on an image
is drawn in the browser from JSON, so that a slider re-judges without a request.
"""

from pathlib import Path
from typing import Any

import gradio as gr

from nsfw_app.concurrency_limits import GRADIO_QUEUE
from nsfw_app.evidence.agreement import Insights
from nsfw_app.review.engine import Engine
from nsfw_app.rules.permissions import Permission
from nsfw_app.ui.api import add_endpoints
from nsfw_app.ui.gallery import create_gallery_tab
from nsfw_app.ui.insights import create_insights_tab
from nsfw_app.ui.log import create_log_tab
from nsfw_app.ui.model import create_model_tab
from nsfw_app.ui.queue import create_queue_tab
from nsfw_app.ui.render import permitted, region, shown
from nsfw_app.ui.review import create_review_tab
from nsfw_app.ui.theme import theme
from nsfw_app.web.app import Page

ASSETS = Path(__file__).parent / "assets"
# Later ones win over earlier ones.
STYLES = """shared/tokens shared/preview shared/verdict shared/decision gallery/gallery gallery/grid
queue/queue shared/wellness insights/insights log/log shared/narrow""".split()


def build_ui(engine: Engine, insights: Insights) -> Page:
    """The page over an engine, ready to be mounted.

    Args:
        engine: Judges images and records decisions.
        insights: What the Insights tab shows.
    """
    with gr.Blocks(title="NSFW Review", fill_width=True, analytics_enabled=False) as blocks:
        topbar = region("topbar", script="shared/topBar.js", event="ready")
        region("model-banner")
        with gr.Tabs(elem_id="tabs"):
            with gr.Tab("Review", id="review"):
                review_threshold = create_review_tab()
            with gr.Tab("Gallery", id="gallery"):
                gallery_threshold = create_gallery_tab()
            with gr.Tab("Queue", id="queue"):
                queue_threshold = create_queue_tab()
            sliders = [review_threshold, gallery_threshold, queue_threshold]
            with gr.Tab("Insights", id="insights") as insights_tab:
                create_insights_tab(insights, insights_tab)
            with gr.Tab("Log", id="log") as log_tab:
                create_log_tab(engine, log_tab)
            with gr.Tab("Model", id="model") as model_tab:
                create_model_tab(engine, model_tab, sliders)

        @shown
        def thresholds(request: gr.Request) -> list[float]:
            permitted(request, Permission.PAGE)
            return [engine.policy.threshold] * len(sliders)

        quietly: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        topbar.ready(thresholds, outputs=sliders, **quietly)
        add_endpoints(engine)
    blocks.queue(api_open=False, max_size=GRADIO_QUEUE)
    options = {"theme": theme(), "css_paths": [ASSETS / f"{name}.css" for name in STYLES]}
    return Page(blocks, ASSETS, options)
