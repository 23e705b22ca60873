"""The JSON of the Insights tab: rates with their counts and intervals.

Its script, `assets/insights/insights.js`, describes the same types.
"""

from dataclasses import asdict
from typing import TypedDict

from nsfw_app.evidence.agreement import Insights, ModelRecord
from nsfw_app.evidence.metrics import Share, wilson_interval
from nsfw_app.review.left_out import hidden_sentence
from nsfw_app.rules.permissions import Caller
from nsfw_app.web.page.log import blind_name


class ShareJson(TypedDict):
    """`part` of `whole`, with its 95 % interval; no interval of nothing."""

    part: int
    whole: int
    interval: tuple[float, float] | None


class ModelJson(TypedDict):
    """A model compared with reviewers; see `ModelRecord`. `confusion` has the four counts."""

    model: str
    revision: str
    backends: list[str]
    threshold: float
    confusion: dict[str, int]
    undecided: int
    precision: ShareJson
    recall: ShareJson


class InsightsJson(TypedDict):
    """The tab. `left_out` says how many decisions are not counted; empty if there are none."""

    left_out: str
    models: list[ModelJson]


def insights_json(insights: Insights, caller: Caller) -> InsightsJson:
    """The statistics that a caller may see.

    A reviewer sees no decisions about images that still need their decision.
    """
    viewer = blind_name(caller)
    return {
        "left_out": hidden_sentence(insights.hidden(viewer)),
        "models": [_model_json(model) for model in insights.models(viewer=viewer)],
    }


def _model_json(record: ModelRecord) -> ModelJson:
    return {
        "model": record.model,
        "revision": record.revision,
        "backends": record.backends,
        "threshold": record.threshold,
        "confusion": asdict(record.confusion),
        "undecided": record.undecided,
        "precision": _share_json(record.confusion.precision),
        "recall": _share_json(record.confusion.recall),
    }


def _share_json(share: Share) -> ShareJson:
    return {"part": share.part, "whole": share.whole, "interval": wilson_interval(share)}
