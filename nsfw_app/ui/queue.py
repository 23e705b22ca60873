"""The Queue tab: images on loan, one after the other."""

import gradio as gr

from nsfw_app.ui.render import region, threshold_slider


def create_queue_tab() -> gr.Slider:
    """Picture on the left, verdict and answer on the right, settled errors below them.

    Returns:
        The threshold slider.
    """
    region("queue-bar")
    with gr.Row(elem_classes="workplace", equal_height=False):
        with gr.Column(scale=3, min_width=320):
            region("queue-picture")
        with gr.Column(scale=2, min_width=300):
            region("queue-verdict")
            slider = threshold_slider("queue")
            region("queue-answer", script="queue/queue.js")
    with gr.Accordion("Relabel: settled errors of the model", open=False):
        region("relabel", script="relabel/relabel.js")
    return slider
