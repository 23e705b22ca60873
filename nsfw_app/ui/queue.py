"""The Queue tab: leased images, one after the other."""

import gradio as gr

from nsfw_app.ui.components import QueuePanel, Region


def create_queue_tab() -> None:
    """Stage on the left; counts, verdict and decision on the right."""
    with gr.Row(elem_classes="review-panel", equal_height=False):
        with gr.Column(scale=3, min_width=320):
            Region("queue-stage")
        with gr.Column(scale=2, min_width=300):
            Region("queue-bar")
            Region("queue-verdict")
            QueuePanel("queue-decision")
