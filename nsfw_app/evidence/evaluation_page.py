"""The HTML file of an evaluation: its tables, and plots as inline SVG."""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from nsfw_app import __version__
from nsfw_app.evidence.evaluation_report import undefined_reason
from nsfw_app.evidence.html_page import render, score

NAMES = {
    "auroc": "AUROC",
    "brier": "Brier score",
    "ece": "Expected calibration error",
}
Points = list[tuple[float, float]]


def evaluation_page(report: Mapping[str, Any]) -> str:
    """The page of an evaluation report; see `evaluation_report`."""
    kinds = Counter(each["kind"] for each in report["unavailable"])
    return render(
        "evaluation.html",
        report=report,
        version=__version__,
        made_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        unavailable=sorted(kinds.items()),
        left_out=sorted(report["left_out"].items()),
        rows=measure_rows,
        roc=lambda curve: [(0.0, 0.0), *_line(curve, "false_positive_rate", "recall")],
        precision_recall=lambda curve: _line(curve, "recall", "precision"),
        histogram=_histogram,
        bins=_bins,
        reliability=lambda parts: [(part["score"], part["unsafe"]) for part in parts],
    )


def measure_rows(
    measures: Mapping[str, Mapping[str, float | None]], labeled: Mapping[str, Any]
) -> list[list[str]]:
    """Name, value and interval of each measure, as texts.

    Args:
        measures: By name.
        labeled: With the numbers of `images`, and of `unsafe` ones among them.
    """
    undefined = undefined_reason(labeled["images"], labeled["unsafe"])
    return [
        [_words(name), undefined, "", ""]
        if found["value"] is None
        else [_words(name), score(found["value"]), *(_bound(found, e) for e in ("lower", "upper"))]
        for name, found in measures.items()
    ]


def _bound(measure: Mapping[str, float | None], end: str) -> str:
    return "too few images" if measure[end] is None else score(measure[end])


def _words(name: str) -> str:
    """A measure's name as words: `recall@0.5` is recall at 0.5."""
    return NAMES.get(name) or name.replace("_", " ").replace("@", " at ").capitalize()


def _line(curve: Iterable[Mapping[str, float | None]], x: str, y: str) -> Points:
    pairs = ((point[x], point[y]) for point in curve)
    return [(a, b) for a, b in pairs if a is not None and b is not None]


def _histogram(counts: Mapping[str, list[int]]) -> list[list[Any]]:
    """A line of steps for each label, of which there are images."""
    series: list[list[Any]] = []
    for kind, name in (("unsafe", "nsfw"), ("safe", "normal")):
        total = sum(counts[kind])
        if total:
            step = 1 / len(counts[kind])
            heights = [(i, n / total) for i, n in enumerate(counts[kind])]
            line = [(x * step, y) for i, y in heights for x in (i, i + 1)]
            series.append([kind, name, line])
    return series


def _bins(counts: Mapping[str, list[int]]) -> list[list[str]]:
    both = list(zip(counts["unsafe"], counts["safe"], strict=True))
    return [[f"{i / len(both):.2f}", str(a), str(b)] for i, (a, b) in enumerate(both)]
