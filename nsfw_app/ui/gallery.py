"""The Gallery tab: many images."""

import gradio as gr

from nsfw_app.ui.render import region, threshold_slider


def create_gallery_tab() -> gr.Slider:
    """Drop zone, a toolbar that stays on top, the grid; returns the threshold slider."""
    region("gallery-upload")
    with gr.Column(elem_id="gallery-toolbar"):
        slider = threshold_slider("gallery")
        region("gallery-tools")
    region("grid", script="gallery/gallery.js")
    return slider
