"""The HTML file of a transparency report."""

from collections.abc import Iterable, Mapping
from typing import Any

from nsfw_app.evidence.html_page import count, percent, render, score

SHARES = {
    "recall": "Recall: share of unsafe images that are not below the threshold",
    "precision": "Precision: share of images from the threshold upwards that are unsafe",
    "prevalence": "Share of images that are unsafe",
    "false_positive_rate": "Share of safe images from the threshold upwards",
}


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
    """What is certified, and what its confidence covers."""
    target = f"recall of at least {percent(certificate['recall'])}"
    confidence = percent(certificate["confidence"])
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
    else:
        found = f"The reviews so far do not show a {target}."
    return (
        f"{found} The confidence of {confidence} is for this one target, if it was set before "
        f"looking, however often one looks. It is from all {count(images)} images of the model "
        f"up to the end of the period, and their {count(certificate['reviews'])} sampled reviews: "
        "a certificate of single periods would have no such confidence."
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
            each["name"] or "none given",
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


def _text(value: object) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else str(value)


def _interval(found: Mapping[str, Any]) -> str:
    return f"{score(found['value'])} ({score(found['lower'])} to {score(found['upper'])})"


def _share(found: Mapping[str, Any]) -> str:
    return f"{percent(found['value'])} ({percent(found['lower'])} to {percent(found['upper'])})"
