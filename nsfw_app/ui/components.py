"""Components that the page's own scripts draw: subclasses of `gr.HTML`, one for each script.

- Their template is constant: Gradio executes what a template prints.
- A script is an ES module in `assets/` that exports `mount(root, {props, watch, trigger})`.
- Values are JSON; each class states the type of its value and the events that its script triggers.
"""

from abc import ABCMeta
from typing import Any, ClassVar, TypedDict

import gradio as gr
from gradio.component_meta import ComponentMeta
from gradio.events import EventListener

TEMPLATE = '<div class="region"></div>'
LOAD_SCRIPT = (
    "import(new URL('desk/assets/' + props.script, document.baseURI)).then("
    "(module) => module.mount(element.firstElementChild, { props, watch, trigger }))"
)


class Section(TypedDict):
    """A heading with names and texts below it."""

    title: str
    rows: list[tuple[str, str]]


class _ComponentType(ComponentMeta):  # type: ignore[misc]
    """Gradio's metaclass, which otherwise writes a `.pyi` file next to the source of a subclass."""

    def __new__(
        cls, name: str, bases: tuple[type, ...], attributes: dict[str, Any]
    ) -> "_ComponentType":
        return ABCMeta.__new__(cls, name, bases, attributes)


class Region(gr.HTML, metaclass=_ComponentType):  # type: ignore[misc]
    """An empty element that the script of another component draws in.

    Args:
        elem_id: Its id in the page.
        options: As of `gr.HTML`; unknown ones are props for the script.
    """

    def __init__(self, elem_id: str, **options: Any) -> None:
        super().__init__(
            **{"js_on_load": "", **options},
            html_template=TEMPLATE,
            elem_id=elem_id,
            elem_classes="bare",
            apply_default_css=False,
            padding=False,
        )


class ScriptedRegion(Region):
    """An element with a script.

    Args:
        elem_id: Its id in the page.
        value: JSON that the script draws, or the threshold of its slider.
    """

    script: ClassVar[str]  # in assets/

    def __init__(self, elem_id: str, value: object = None) -> None:
        super().__init__(elem_id, value=value, js_on_load=LOAD_SCRIPT, script=self.script)


class TopBar(ScriptedRegion):
    """The bar at the top. Value: the version of the policy that this page saved last.

    Triggers `ready` once the model is ready, `policy_text` when that text is opened for the first
    time.
    """

    script = "shared/topBar.js"
    ready = EventListener("ready").listener
    policy_text = EventListener("policy_text").listener


class ReviewPanel(ScriptedRegion):
    """Preview, verdict and decision in the Review tab. Value: the threshold."""

    script = "review/review.js"


class GalleryGrid(ScriptedRegion):
    """The grid of cards in the Gallery tab. Value: the threshold."""

    script = "gallery/gallery.js"


class QueuePanel(ScriptedRegion):
    """Stage, verdict and decision in the Queue tab."""

    script = "queue/queue.js"


class RelabelGrid(ScriptedRegion):
    """The grid of settled misclassifications in the Relabel tab; its script fetches them."""

    script = "relabel/relabel.js"


class InsightsReport(ScriptedRegion):
    """Agreement of model and reviewers. Value: see `insights_json`."""

    script = "insights/insights.js"


class LogTable(ScriptedRegion):
    """The correction log, with its filters; its script fetches them."""

    script = "log/log.js"


class ModelReport(ScriptedRegion):
    """Model, optimized models and policy. Value: a list of `Section`."""

    script = "model/model.js"


def threshold_slider(name: str) -> gr.Slider:
    """The threshold slider of a tab."""
    return gr.Slider(
        0, 1, 0.5, step=0.01, label="Threshold", elem_id=f"{name}-threshold", buttons=[]
    )


def connect_threshold(slider: gr.Slider, target: ScriptedRegion) -> None:
    """Make the slider's value the target's, in the browser and without a request."""
    for event in (slider.input, slider.change):
        event(None, slider, target, js="(threshold) => threshold", api_visibility="private")
