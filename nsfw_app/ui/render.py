"""What the tabs share: regions that scripts draw, sliders that ask nobody, errors in words."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import gradio as gr

from nsfw_app.errors import NSFWReviewError
from nsfw_app.rules.permissions import Caller, Permission
from nsfw_app.web.http.request_state import caller_of

P = ParamSpec("P")
T = TypeVar("T")


def region(elem_id: str, *, script: str = "", event: str = "", value: object = None) -> gr.HTML:
    """An empty element for a script to draw in.

    Its template is constant: a template would run what it prints.

    Args:
        elem_id: Its id in the page.
        script: The file in `assets/` whose `mount` draws it; none for a part of another region.
        event: A custom event that the script may trigger; its `mount` then gets the trigger
            instead of the element's value.
        value: JSON for the script to draw.
    """
    given = f"() => trigger('{event}')" if event else "props, watch"
    load = (
        f"import(new URL('desk/assets/{script}', document.baseURI))"
        f".then((module) => module.mount(element.firstElementChild, {given}))"
    )
    return gr.HTML(
        value,
        html_template='<div class="region"></div>',
        js_on_load=load if script else "",
        elem_id=elem_id,
        elem_classes="bare",
        apply_default_css=False,
        padding=False,
    )


def threshold_slider(name: str) -> gr.Slider:
    """The slider of a tab. Its moves become events in the browser and go nowhere else."""
    slider = gr.Slider(
        0, 1, 0.5, step=0.01, label="Threshold", elem_id=f"{name}-threshold", buttons=[]
    )
    announce = (
        f"(value) => {{ document.dispatchEvent(new CustomEvent('threshold:{name}', "
        "{ detail: value })); return [] }"
    )
    for event in (slider.input, slider.change):
        event(None, slider, None, js=announce, api_visibility="private")
    return slider


def permitted(request: gr.Request, permission: Permission) -> Caller:
    """Whoever triggered a handler, who must have this permission.

    Raises:
        NotSignedIn: Nobody has signed in.
        Forbidden: Whoever has may not do this.
    """
    caller = caller_of(request.request)
    caller.require(permission)
    return caller


def shown(handler: Callable[P, T]) -> Callable[P, T]:
    """A handler whose errors of ours become messages on the page."""

    @functools.wraps(handler)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return handler(*args, **kwargs)
        except NSFWReviewError as error:
            raise gr.Error(str(error), print_exception=False) from error

    return wrapped
