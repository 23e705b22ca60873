"""The Gallery tab: many images."""

import gradio as gr

from nsfw_app.ui.components import GalleryGrid, Region, connect_threshold, threshold_slider


def create_gallery_tab() -> gr.Slider:
    """Drop zone, a sticky toolbar, the grid; returns the threshold slider."""
    Region("gallery-upload")
    with gr.Column(elem_id="gallery-toolbar"):
        slider = threshold_slider("gallery")
        Region("gallery-tools")
    connect_threshold(slider, GalleryGrid("grid"))
    return slider
