"""The JSON object of an image, and the same as a CSV row."""

import json
from dataclasses import asdict, fields
from typing import Any

from nsfw_app.records import ImageProblem, Policy, Review, Verdict
from nsfw_app.review.csv_lines import csv_line


def review_json(review: Review) -> dict[str, Any]:
    """The JSON object of one image: the same in the page's API, the REST API and the commands.

    `ImageResult` in `nsfw_app/web/api/images.py` is its schema.
    `frame` is the 0-based frame that the score is of; `frames` counts those in the file.
    """
    image, prediction = review.image, review.prediction
    identity = prediction.identity if prediction else None
    return {
        "name": review.name,
        "sha256": review.sha256,
        "nsfw_score": prediction.nsfw_score if prediction else None,
        "probabilities": dict(prediction.probabilities) if prediction else None,
        "label": review.verdict.label,
        "action": review.verdict.action,
        "threshold": review.policy.threshold,
        "review_from": review.policy.review_from,
        "review_to": review.policy.review_to,
        "model": identity.model if identity else None,
        "revision": identity.revision if identity else None,
        "weights_sha256": identity.weights_sha256 if identity else None,
        "backend": identity.backend if identity else None,
        "width": image.width if image else None,
        "height": image.height if image else None,
        "format": image.format if image else None,
        "frame": prediction.frame if prediction else None,
        "frames": image.frames if image else None,
        "warnings": [asdict(warning) for warning in review.warnings],
        "error": asdict(review.problem) if review.problem else None,
    }


# The keys of `review_json`, with the error in two columns.
REVIEW_COLUMNS = (
    *(key for key in review_json(Review("", Policy(0.5, 0.5, 0.5), Verdict())) if key != "error"),
    *(f"error_{field.name}" for field in fields(ImageProblem)),
)


def review_csv_heading() -> str:
    """The CSV header of images."""
    return csv_line(REVIEW_COLUMNS)


def review_csv(review: Review) -> str:
    """The CSV row of one image: `review_json`, flattened.

    `probabilities` is a JSON object, so that the columns are the same for every model; `warnings`
    is a JSON list of their codes.
    """
    row = review_json(review)
    error = row.pop("error") or {}
    row |= {f"error_{key}": value for key, value in error.items()}
    row["warnings"] = json.dumps([warning.code for warning in review.warnings])
    row["probabilities"] = json.dumps(row["probabilities"]) if row["probabilities"] else None
    return csv_line(row.get(column) for column in REVIEW_COLUMNS)
