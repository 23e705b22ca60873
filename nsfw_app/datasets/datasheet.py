"""The datasheet of a filtered data set: what it has, how it was made, and what is known of it."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from nsfw_app import __version__
from nsfw_app.datasets.filtering import BINS, Criteria, FilterCounts
from nsfw_app.datasets.scan_record import ScanRecord
from nsfw_app.datasets.unsafe_rate import RateSource, UnsafeRate
from nsfw_app.evidence.html_page import render, score
from nsfw_app.records import utc
from nsfw_app.rules.policy import rules_json

ESTIMATED = {
    RateSource.SCAN: "The rate is estimated from reviews of images that were drawn at random from "
    "this scan, weighted by draw probability and score. It assumes that images of which reviewers "
    "have not decided yet, and kept images that no draw was among, because files or criteria were "
    "others then, are unsafe as often as reviewed ones with about the same score. It assumes the "
    "same of images about which reviewers are unsure, which is optimistic.",
    RateSource.ARRIVALS: "The rate is estimated from reviews of images that arrived at this "
    "installation. It assumes that images with about the same score are unsafe as often in this "
    "data set, which nothing here shows: people must review a sample of it to know. It assumes the "
    "same of images about which reviewers are unsure, which is optimistic.",
}
NOT_ESTIMATED = (
    "How many of the kept images are unsafe is not known: there is no reviewer's decision about an "
    "image with a score like theirs that was drawn at random, neither from this scan nor among the "
    "images that arrived here and were judged by its model. A sample for review is drawn by filter "
    "with --review and --sample."
)
LIMITS = (
    "A score says whether an image looks unsafe to one model. Unsafe images with a low score are "
    "kept, and safe ones with a high score are dropped.",
    "The model knows sexual content only as its training data had it; violence, hate and illegal "
    "content are not what it was made to find.",
    "Dropping images by score changes what a data set shows: people, skin, art and medicine may "
    "become rarer than they were in the sources.",
)


def datasheet(
    record: ScanRecord,
    criteria: Criteria,
    counts: FilterCounts,
    *,
    rate: UnsafeRate | None,
    where: str | None,
) -> dict[str, Any]:
    """The datasheet as JSON.

    Args:
        record: Of the scan.
        criteria: By which images were kept.
        counts: What became of the images.
        rate: Estimated, see `FilterCounts.estimated_scores`; None without evidence.
        where: The condition as it was written.
    """
    policy = criteria.policy
    return {
        "made_at": utc(datetime.now(UTC).isoformat()),
        "version": __version__,
        "scan": {
            "sources": list(record.sources),
            "started_at": record.started_at,
            "finished_at": record.finished_at,
            "limits": asdict(record.limits),
        },
        "model": {**asdict(record.model), "labels": dict(record.roles)},
        "policy": {
            "version": policy.version,
            "threshold": policy.threshold,
            "review_from": policy.review_from,
            "review_to": policy.review_to,
            "category_rules": rules_json(policy.category_rules),
            "overrules_allow": policy.overrules_allow,
        },
        "criteria": {
            "keep": sorted(criteria.keep),
            "max_score": criteria.max_score,
            "where": where,
            "unique": criteria.is_unique,
            "decisions": criteria.uses_labels,
        },
        "counts": {
            "images": counts.rows,
            "kept": counts.kept,
            "dropped": {reason.value: number for reason, number in counts.dropped.items()},
            "unavailable": dict(counts.unavailable),
            "with_human_label": counts.labeled,
            "kept_with_settled_label": dict(+counts.kept_by_label),
        },
        "scores": {"all": counts.scores, "kept": counts.kept_scores},
        "unsafe_rate": None if rate is None else _rate(rate),
        "limits": [NOT_ESTIMATED if rate is None else ESTIMATED[rate.source], *LIMITS],
    }


def datasheet_page(sheet: Mapping[str, Any]) -> str:
    """The page of a datasheet."""
    return render("datasheet.html", sheet=sheet, rows=_rows, bins=_bins, lines=_lines)


def _rate(found: UnsafeRate) -> dict[str, float | int | str | None]:
    rate = found.rate
    return {
        "value": rate.rate.value,
        "lower": rate.rate.lower,
        "upper": rate.rate.upper,
        "confidence": rate.confidence,
        "reviews": rate.rate.reviews,
        "images": rate.images,
        "covered": rate.covered,
        "provisional": rate.provisional,
        "source": found.source,
        "undecided": found.undecided,
        "unsure": found.unsure,
        "upper_with_unsure": found.upper_with_unsure,
    }


def _rows(values: Mapping[str, Any]) -> list[list[str]]:
    """Names and values as texts."""
    return [[name.replace("_", " ").capitalize(), _text(value)] for name, value in values.items()]


def _text(value: Any) -> str:
    if value is None or value == [] or value == {}:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_text(each)}" for name, each in value.items())
    return ", ".join(map(_text, value)) if isinstance(value, list) else str(value)


def _bins(scores: Mapping[str, list[int]]) -> list[list[str]]:
    pairs = enumerate(zip(scores["all"], scores["kept"], strict=True))
    return [[score(i / BINS), f"{all_:,}", f"{kept:,}"] for i, (all_, kept) in pairs]


def _lines(scores: Mapping[str, list[int]]) -> list[list[Any]]:
    """A line of steps for all images and one for the kept ones, each as shares of all images."""
    total = sum(scores["all"]) or 1
    return [
        [
            style,
            name,
            [(x / BINS, n / total) for i, n in enumerate(scores[name]) for x in (i, i + 1)],
        ]
        for style, name in (("unsafe", "all"), ("safe", "kept"))
    ]
