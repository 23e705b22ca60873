"""The Review tab: one image."""

import gradio as gr

from nsfw_app.ui.components import Region, ReviewPanel, connect_threshold, threshold_slider


def create_review_tab() -> gr.Slider:
    """Preview on the left, verdict and decision on the right; returns the threshold slider."""
    with gr.Row(elem_classes="review-panel", equal_height=False):
        with gr.Column(scale=3, min_width=320):
            Region("image-input")
            Region("review-preview")
        with gr.Column(scale=2, min_width=300):
            Region("review-verdict")
            slider = threshold_slider("review")
            connect_threshold(slider, ReviewPanel("review-decision"))
    return slider
