"""The Gallery tab: many images."""

import gradio as gr

from nsfw_app.ui.components import GalleryGrid, Region, connect_threshold, threshold_slider


def create_gallery_tab() -> gr.Slider:
    """One line of tools, which holds the drop zone, and the grid; returns the threshold slider."""
    with gr.Column(elem_id="gallery-toolbar"):
        Region("gallery-upload")
        slider = threshold_slider("gallery")
        Region("gallery-tools")
    connect_threshold(slider, GalleryGrid("grid"))
    return slider
