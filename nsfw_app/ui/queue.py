"""The Queue tab: leased images, one after the other."""

import gradio as gr

from nsfw_app.ui.components import (
    QueuePanel,
    Region,
    RelabelList,
    connect_threshold,
    threshold_slider,
)


def create_queue_tab() -> gr.Slider:
    """Preview on the left, verdict and decision on the right, settled misclassifications below.

    Returns:
        The threshold slider.
    """
    Region("queue-bar")
    with gr.Row(elem_classes="review-panel", equal_height=False):
        with gr.Column(scale=3, min_width=320):
            Region("queue-preview")
        with gr.Column(scale=2, min_width=300):
            Region("queue-verdict")
            slider = threshold_slider("queue")
            connect_threshold(slider, QueuePanel("queue-decision"))
    with gr.Accordion("Relabel: settled misclassifications", open=False):
        RelabelList("relabel")
    return slider
