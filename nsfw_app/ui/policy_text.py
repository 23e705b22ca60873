"""The text of the moderation policy, which the top bar opens in a dialog.

Gradio renders the Markdown and sanitizes the result. Its sanitizer parses HTML in the live document
first, where handlers run unless the Content-Security-Policy forbids it. So HTML and images are
turned into text before.
"""

import re

import gradio as gr

from nsfw_app.rules.permissions import Permission
from nsfw_app.ui.components import TopBar
from nsfw_app.ui.handlers import INTERNAL, authorize, show_errors

WORD_JOINER = "\u2060"  # invisible, without width
TAG_START = re.compile(r"<(?=[A-Za-z/!?])")
MERMAID_FENCE = re.compile(r"^(\W*(?:`{3,}|~{3,})\s*)mermaid", re.IGNORECASE | re.MULTILINE)


def create_policy_text(markdown: str | None, topbar: TopBar) -> None:
    """A Markdown component that is filled when the text is opened; a script moves it to a dialog.

    Args:
        markdown: The text; None if none is configured.
        topbar: Triggers the event.
    """
    text = gr.Markdown("Loading...", elem_id="policy-markdown", latex_delimiters=[])
    safe = None if markdown is None else without_html(markdown)

    @show_errors
    def show(request: gr.Request) -> str:
        authorize(request, Permission.PAGE)
        return safe or "No policy text is configured."

    topbar.policy_text(show, outputs=text, **INTERNAL)


def without_html(markdown: str) -> str:
    """The Markdown with HTML shown as text, images as links, diagrams as code.

    - A word joiner breaks the syntax; the text appears unchanged, in code too.
    """
    text = TAG_START.sub(f"<{WORD_JOINER}", markdown).replace("![", f"!{WORD_JOINER}[")
    return MERMAID_FENCE.sub(r"\1text", text)
