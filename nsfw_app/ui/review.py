"""The Review tab: one image."""

import gradio as gr

from nsfw_app.ui.render import region, threshold_slider


def create_review_tab() -> gr.Slider:
    """Picture on the left, verdict and answer on the right; returns the threshold slider."""
    with gr.Row(elem_classes="workplace", equal_height=False):
        with gr.Column(scale=3, min_width=320):
            region("image-input")
            region("review-picture")
        with gr.Column(scale=2, min_width=300):
            region("review-verdict")
            slider = threshold_slider("review")
            region("review-answer", script="review/review.js")
    return slider
