"""The JSON of the Insights tab: rates with their counts and intervals.

Its script, `assets/insights/insights.js`, describes the same types.
"""

from dataclasses import asdict
from typing import TypedDict

from nsfw_app.evidence.agreement import (
    Insights,
    ModelRecord,
    PairRecord,
    ReviewerAgreement,
    ReviewerRecord,
)
from nsfw_app.evidence.metrics import Agreement, Share, wilson_interval
from nsfw_app.review.left_out import hidden_sentence
from nsfw_app.rules.permissions import Caller
from nsfw_app.web.page.log import blind_name


class ShareJson(TypedDict):
    """`part` of `whole`, with its 95 % interval; no interval of nothing."""

    part: int
    whole: int
    interval: tuple[float, float] | None


class AgreementJson(TypedDict):
    """A chance-corrected agreement over `images`, and the share of equal labels."""

    value: float | None
    same: ShareJson
    images: int


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


class PairJson(TypedDict):
    """Agreement of two reviewers."""

    reviewers: list[str]
    kappa: AgreementJson


class ReviewerJson(TypedDict):
    """A reviewer's decisions and agreement with others; see `ReviewerRecord`."""

    reviewer: str
    answers: int
    timed: int
    median_ms: float | None
    with_others: ShareJson


class PeopleJson(TypedDict):
    """Agreement between reviewers; see `ReviewerAgreement`."""

    alpha: AgreementJson
    all_pairs: int
    pairs: list[PairJson]
    reviewers: list[ReviewerJson]


class InsightsJson(TypedDict):
    """The tab. `left_out` says how many decisions are not counted; empty if there are none."""

    left_out: str
    models: list[ModelJson]
    people: PeopleJson


def insights_json(insights: Insights, caller: Caller) -> InsightsJson:
    """The statistics that a caller may see.

    A reviewer sees no decisions about images that still need their decision.
    """
    viewer = blind_name(caller)
    return {
        "left_out": hidden_sentence(insights.hidden(viewer)),
        "models": [_model_json(model) for model in insights.models(viewer=viewer)],
        "people": _people_json(insights.people(viewer=viewer)),
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


def _people_json(agreement: ReviewerAgreement) -> PeopleJson:
    return {
        "alpha": _agreement_json(agreement.alpha),
        "all_pairs": agreement.all_pairs,
        "pairs": [_pair_json(pair) for pair in agreement.pairs],
        "reviewers": [_reviewer_json(record) for record in agreement.reviewers],
    }


def _pair_json(pair: PairRecord) -> PairJson:
    return {"reviewers": [pair.first, pair.second], "kappa": _agreement_json(pair.kappa)}


def _reviewer_json(record: ReviewerRecord) -> ReviewerJson:
    stats = record.stats
    return {
        "reviewer": stats.reviewer,
        "answers": stats.answers,
        "timed": stats.timed,
        "median_ms": stats.median_ms,
        "with_others": _share_json(record.with_others),
    }


def _agreement_json(agreement: Agreement) -> AgreementJson:
    return {
        "value": agreement.value,
        "same": _share_json(agreement.same),
        "images": agreement.images,
    }


def _share_json(share: Share) -> ShareJson:
    return {"part": share.part, "whole": share.whole, "interval": wilson_interval(share)}
