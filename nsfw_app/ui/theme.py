"""Colors and type of Gradio's components: the tokens of `assets/shared/tokens.css`."""

import gradio as gr
from gradio.themes.utils import colors

SYSTEM_FONT = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")
MONO_FONT = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")
LIGHT = {"page": "#f6f5f2", "surface": "#ffffff", "ink": "#1d2126", "muted": "#565d66"}
DARK = {"page": "#141618", "surface": "#1d2023", "ink": "#e9e6e1", "muted": "#a9adb3"}
LINE = {"light": "#d9d6cf", "dark": "#383c41"}
ACCENT = {"light": "#0b5a9d", "dark": "#82bdf2"}


def theme() -> gr.themes.Base:
    """Stone surfaces, one blue accent, the system font; light and dark."""
    base = gr.themes.Base(
        primary_hue=colors.blue,
        neutral_hue=colors.stone,
        font=list(SYSTEM_FONT),
        font_mono=list(MONO_FONT),
        radius_size=gr.themes.sizes.radius_md,
        spacing_size=gr.themes.sizes.spacing_md,
    )
    return base.set(
        body_background_fill=LIGHT["page"],
        body_background_fill_dark=DARK["page"],
        body_text_color=LIGHT["ink"],
        body_text_color_dark=DARK["ink"],
        body_text_color_subdued=LIGHT["muted"],
        body_text_color_subdued_dark=DARK["muted"],
        background_fill_primary=LIGHT["surface"],
        background_fill_primary_dark=DARK["surface"],
        background_fill_secondary=LIGHT["page"],
        background_fill_secondary_dark=DARK["page"],
        block_background_fill=LIGHT["surface"],
        block_background_fill_dark=DARK["surface"],
        block_border_width="1px",
        block_border_color=LINE["light"],
        block_border_color_dark=LINE["dark"],
        border_color_primary=LINE["light"],
        border_color_primary_dark=LINE["dark"],
        block_label_text_color=LIGHT["muted"],
        block_label_text_color_dark=DARK["muted"],
        block_title_text_color=LIGHT["muted"],
        block_title_text_color_dark=DARK["muted"],
        input_background_fill=LIGHT["surface"],
        input_background_fill_dark=DARK["surface"],
        input_border_width="1px",
        input_border_color=LINE["light"],
        input_border_color_dark=LINE["dark"],
        input_placeholder_color=LIGHT["muted"],
        input_placeholder_color_dark=DARK["muted"],
        color_accent=ACCENT["light"],
        slider_color=ACCENT["light"],
        slider_color_dark=ACCENT["dark"],
        border_color_accent=ACCENT["light"],
        border_color_accent_dark=ACCENT["dark"],
        link_text_color=ACCENT["light"],
        link_text_color_dark=ACCENT["dark"],
        button_primary_background_fill=ACCENT["light"],
        button_primary_background_fill_dark=ACCENT["dark"],
        button_primary_text_color="#ffffff",
        button_primary_text_color_dark=DARK["page"],
        button_secondary_background_fill=LIGHT["surface"],
        button_secondary_background_fill_dark=DARK["surface"],
        button_secondary_border_color=LINE["light"],
        button_secondary_border_color_dark=LINE["dark"],
        button_border_width="1px",
    )
