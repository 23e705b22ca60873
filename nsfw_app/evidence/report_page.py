"""The HTML file of a transparency report."""

from collections.abc import Iterable, Mapping
from typing import Any

from nsfw_app.evidence.decision_counts import NO_REASON
from nsfw_app.evidence.errors import NOT_SETTLED
from nsfw_app.evidence.guarantee import NoForecast
from nsfw_app.evidence.html_page import count, percent, render, score, target_percent

SHARES = {
    "recall": "Recall: share of unsafe images that are not below the threshold",
    "precision": "Precision: share of images from the threshold upwards that are unsafe",
    "prevalence": "Share of images that are unsafe",
    "false_positive_rate": "Share of safe images from the threshold upwards",
}

REASON_NAMES = {NO_REASON: "none given", NOT_SETTLED: "not settled yet"}


def report_page(report: Mapping[str, Any]) -> str:
    """The page of a report; see `TransparencyReport`."""
    return render(
        "report.html",
        report=report,
        estimates=estimate_rows,
        certificate=certificate_sentence,
        calibration=calibration_rows,
        rows=rows,
        errors=error_rows,
        reasons=reason_rows,
        counts=decision_rows,
        rates=rate_series,
        rate_rows=rate_rows,
        histogram=histogram_series,
        histogram_rows=histogram_rows,
        reliability=reliability_series,
        reliability_rows=reliability_rows,
    )


def rows(items: Iterable[Mapping[str, Any]], keys: str) -> list[list[str]]:
    """The values of these keys of each item, as texts."""
    return [[_text(item[key]) for key in keys.split()] for item in items]


def estimate_rows(estimates: Mapping[str, Any]) -> list[list[str]]:
    """Name, value, interval and number of reviews of each estimate, as texts."""
    shares = [
        [
            name,
            percent(estimates[key]["value"]),
            f"{percent(estimates[key]['lower'])} to {percent(estimates[key]['upper'])}",
            count(estimates[key]["reviews"]),
        ]
        for key, name in SHARES.items()
    ]
    missed = estimates["missed"]
    return [
        [
            "Unsafe images below the threshold",
            count(missed["value"]),
            f"{count(missed['lower'])} to {count(missed['upper'])}",
            count(missed["reviews"]),
        ],
        *shares,
    ]


def certificate_sentence(certificate: Mapping[str, Any], images: int) -> str:
    """What is certified, whether it covers the policy, and what its confidence is for."""
    target = f"recall of at least {target_percent(certificate['recall'])}"
    confidence = target_percent(certificate["confidence"])
    if certificate["threshold"] is not None:
        found = (
            f"A {target} is certified up to the threshold {certificate['threshold']:.2f}, "
            f"where the recall is at least {percent(certificate['recall_lower'])}."
        )
    elif certificate["more_reviews"] is not None:
        found = (
            f"A {target} is not certified yet: about {count(certificate['more_reviews'])} more "
            "sampled reviews certify it, if they are like those so far."
        )
    elif certificate["no_forecast"] == NoForecast.NO_REVIEWS:
        found = f"A {target} is not certified: no image that was drawn has a settled label."
    else:
        found = f"A {target} is not certified: the reviews so far do not show that it is reached."
    return (
        f"{found} {certificate['coverage']} The confidence of {confidence} is for this one target, "
        "if it was set before looking, however often one looks. It is from all "
        f"{count(images)} images of the model up to the end of the period, and their "
        f"{count(certificate['reviews'])} sampled reviews: a certificate of single periods would "
        "have no such confidence."
    )


def error_rows(groups: Iterable[Mapping[str, Any]]) -> list[list[str]]:
    """Name, images, reviews, and the shares of wrong labels with their intervals."""
    return [
        [
            group["name"],
            count(group["images"]),
            count(group["reviews"]),
            *map(_share, (group[key] for key in ("wrong", "false_negatives", "false_positives"))),
        ]
        for group in groups
    ]


def reason_rows(reasons: Iterable[Mapping[str, Any]]) -> list[list[str]]:
    """Reason code, sampled images, and the estimated number of all with its interval."""
    return [
        [
            REASON_NAMES.get(each["name"], each["name"]),
            count(each["found"]),
            f"{count(each['images']['value'])} "
            f"({count(each['images']['lower'])} to {count(each['images']['upper'])})",
        ]
        for each in reasons
    ]


def decision_rows(groups: Iterable[Mapping[str, Any]]) -> list[list[str]]:
    """Reason code, decisions, and those that differ from the model."""
    keys = "decisions false_negatives false_positives unsure"
    return [[group["name"] or "none given", *rows([group], keys)[0]] for group in groups]


def calibration_rows(calibration: Mapping[str, Any]) -> list[list[str]]:
    """Measure, raw value and calibrated value with their intervals."""
    names = {"brier": "Brier score", "log_loss": "Log loss", "ece": "Expected calibration error"}
    return [[name, *map(_interval, calibration[key].values())] for key, name in names.items()]


def rate_series(curve: Mapping[str, Any]) -> list[list[Any]]:
    """Bands and lines of recall and precision by threshold; what is unknown is left out."""
    series: list[list[Any]] = []
    for key, kind, name in (("recall", "safe", "Recall"), ("precision", "unsafe", "Precision")):
        known = [
            (threshold, each)
            for threshold, each in zip(curve["thresholds"], curve[key], strict=True)
            if each["value"] is not None
        ]
        band = [(t, each["upper"]) for t, each in known]
        band += [(t, each["lower"]) for t, each in reversed(known)]
        series.append([f"band {kind}", "", band])
        series.append([kind, name, [(t, each["value"]) for t, each in known]])
    return series


def rate_rows(curve: Mapping[str, Any]) -> list[list[str]]:
    """Recall and precision at each twentieth of the threshold."""
    step = len(curve["thresholds"]) // 20
    return [
        [
            f"{curve['thresholds'][at]:.2f}",
            _share(curve["recall"][at]),
            _share(curve["precision"][at]),
        ]
        for at in range(0, len(curve["thresholds"]), step)
    ]


def histogram_series(histogram: Mapping[str, Any]) -> list[list[Any]]:
    """A line of steps for each label, as shares of its images."""
    series: list[list[Any]] = []
    for kind, name in (("unsafe", "Unsafe"), ("safe", "Safe")):
        total = sum(histogram[kind])
        if total:
            step = 1 / len(histogram[kind])
            heights = [(at, number / total) for at, number in enumerate(histogram[kind])]
            series.append([kind, name, [(x * step, y) for at, y in heights for x in (at, at + 1)]])
    return series


def histogram_rows(histogram: Mapping[str, Any]) -> list[list[str]]:
    """Estimated images of each tenth of the score."""
    columns = zip(histogram["unsafe"], histogram["safe"], histogram["reviews"], strict=True)
    tenths = len(histogram["unsafe"])
    return [
        [f"{at / tenths:.1f} to {(at + 1) / tenths:.1f}", *map(count, row)]
        for at, row in enumerate(columns)
    ]


def reliability_series(parts: Iterable[Mapping[str, Any]]) -> list[list[Any]]:
    """The ideal, an interval at each point, and the line of points."""
    found = [(part["probability"], part["unsafe"]) for part in parts]
    intervals = [["unsafe", "", [(x, each["lower"]), (x, each["upper"])]] for x, each in found]
    line = ["unsafe", "Scores", [(x, each["value"]) for x, each in found]]
    return [["even", "", [(0, 0), (1, 1)]], *intervals, line]


def reliability_rows(parts: Iterable[Mapping[str, Any]]) -> list[list[str]]:
    """Mean score, share that is unsafe, and reviews of each tenth."""
    return [
        [score(part["probability"]), _share(part["unsafe"]), count(part["unsafe"]["reviews"])]
        for part in parts
    ]


def _text(value: object) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else str(value)


def _interval(found: Mapping[str, Any]) -> str:
    return f"{score(found['value'])} ({score(found['lower'])} to {score(found['upper'])})"


def _share(found: Mapping[str, Any]) -> str:
    return f"{percent(found['value'])} ({percent(found['lower'])} to {percent(found['upper'])})"
