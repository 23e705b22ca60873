"""Components that the page's own scripts draw: subclasses of `gr.HTML`, one for each script.

- Their template is constant: Gradio executes what a template prints.
- A script is an ES module in `assets/` that exports `mount(root, {props, watch, trigger})`.
- Values are JSON: each class states the type of its value as `ScriptedRegion[...]`, what it means,
  and the events that its script triggers.
"""

from abc import ABCMeta
from typing import Any, ClassVar, Generic, TypedDict, TypeVar

import gradio as gr
from gradio.component_meta import ComponentMeta
from gradio.events import EventListener

from nsfw_app.ui.insights_json import InsightsJson

TEMPLATE = '<div class="region"></div>'
LOAD_SCRIPT = (
    "import(new URL('desk/assets/' + props.script, document.baseURI)).then("
    "(module) => module.mount(element.firstElementChild, { props, watch, trigger }))"
)


Value = TypeVar("Value")


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
    """

    def __init__(self, elem_id: str) -> None:
        self._build(elem_id, js_on_load="")

    def _build(self, elem_id: str, **options: Any) -> None:
        """Call the constructor of `gr.HTML`; options that it does not know are props."""
        gr.HTML.__init__(
            self,
            **options,
            html_template=TEMPLATE,
            elem_id=elem_id,
            elem_classes="bare",
            apply_default_css=False,
            padding=False,
        )


class ScriptedRegion(Region, Generic[Value]):
    """An element with a script, which draws its value.

    Args:
        elem_id: Its id in the page.
        value: What the script draws, and draws again whenever an event sets another; None until
            then. Always None for a `ScriptedRegion[None]`, whose script fetches what it draws.
    """

    script: ClassVar[str]  # in assets/

    def __init__(self, elem_id: str, value: Value | None = None) -> None:
        self._build(elem_id, value=value, js_on_load=LOAD_SCRIPT, script=self.script)


class TopBar(ScriptedRegion[int]):
    """The bar at the top. Value: the number of the policy version that this page saved last.

    Triggers `ready` once the model is ready, `policy_text` when that text is opened for the first
    time.
    """

    script = "shared/topBar.js"
    ready = EventListener("ready").listener
    policy_text = EventListener("policy_text").listener


class ReviewPanel(ScriptedRegion[float]):
    """Preview, verdict and decision in the Review tab. Value: the threshold, in [0, 1]."""

    script = "review/review.js"


class GalleryGrid(ScriptedRegion[float]):
    """The grid of cards in the Gallery tab. Value: the threshold, in [0, 1]."""

    script = "gallery/gallery.js"


class QueuePanel(ScriptedRegion[None]):
    """Stage, verdict and decision in the Queue tab; its script claims entries."""

    script = "queue/queue.js"


class RelabelGrid(ScriptedRegion[None]):
    """The grid of settled misclassifications in the Relabel tab; its script fetches them."""

    script = "relabel/relabel.js"


class EvidencePanel(ScriptedRegion[None]):
    """Evidence and threshold finder; its script fetches the summary.

    Triggers `use` with the three numbers of the finder and a reason: see `policy_form.Proposal`.
    """

    script = "insights/evidence.js"
    use = EventListener("use").listener


class InsightsReport(ScriptedRegion[InsightsJson]):
    """Agreement of the model with reviewers, and of reviewers. Value: their statistics."""

    script = "insights/insights.js"


class LogTable(ScriptedRegion[None]):
    """The correction log, with its filters; its script fetches them."""

    script = "log/log.js"


class ModelReport(ScriptedRegion[list[Section]]):
    """Model, optimized models and policy. Value: the sections, from top to bottom."""

    script = "model/model.js"


def threshold_slider(name: str) -> gr.Slider:
    """The threshold slider of a tab."""
    return gr.Slider(
        0, 1, 0.5, step=0.01, label="Threshold", elem_id=f"{name}-threshold", buttons=[]
    )


def connect_threshold(slider: gr.Slider, target: ScriptedRegion[float]) -> None:
    """Make the slider's value the target's, in the browser and without a request."""
    for event in (slider.input, slider.change):
        event(None, slider, target, js="(threshold) => threshold", api_visibility="private")
