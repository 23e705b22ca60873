"""The JSON object of an image, and the same as a CSV row.

`ImageResult` defines its keys for the page, the REST API, its schema and the commands.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Annotated, Any, Literal, Self, cast

from pydantic import Field

from nsfw_app.records import Category, Detail, ImageProblem, ImageWarning, Review
from nsfw_app.review.csv_lines import csv_line


@dataclass(frozen=True, slots=True, kw_only=True)
class DetailResult:
    """What the detail model, the second one, computed; with an `error`, its name only."""

    model: str
    revision: str | None
    weights_sha256: str | None
    backend: str | None
    probabilities: dict[str, float] | None
    error: ImageProblem | None

    @classmethod
    def of(cls, detail: Detail) -> Self:
        """The result of what the model computed, or of its failure."""
        identity = detail.identity
        return cls(
            model=detail.model,
            revision=identity.revision if identity else None,
            weights_sha256=identity.weights_sha256 if identity else None,
            backend=identity.backend if identity else None,
            probabilities=dict(detail.probabilities) if identity else None,
            error=detail.problem,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageResult:
    """Result of one file. One that could not be classified is `unavailable` and has an `error`."""

    name: str
    sha256: str | None
    nsfw_score: Annotated[float | None, Field(description="In [0, 1].")]
    probabilities: dict[str, float] | None
    label: Literal["normal", "nsfw"] | None
    action: Literal["unavailable", "allow", "review", "block"]
    threshold: float
    review_from: float
    review_to: float
    model: str | None
    revision: str | None
    weights_sha256: str | None
    backend: str | None
    width: int | None
    height: int | None
    format: str | None
    frame: int | None  # 0-based, of the frame that the score is of
    frames: int | None  # in the file
    warnings: list[ImageWarning]
    error: ImageProblem | None
    # Probability of each category that was judged; None where none was.
    categories: dict[Category, float] | None
    detail: DetailResult | None  # None where the detail model was not asked

    @classmethod
    def of(cls, review: Review, **added: Any) -> Self:
        """The result of a review, with the fields that a subclass adds."""
        image, prediction = review.image, review.prediction
        identity = prediction.identity if prediction else None
        return cls(
            name=review.name,
            sha256=review.sha256,
            nsfw_score=prediction.nsfw_score if prediction else None,
            probabilities=dict(prediction.probabilities) if prediction else None,
            label=cast(Any, review.verdict.label),
            action=cast(Any, review.verdict.action),
            threshold=review.policy.threshold,
            review_from=review.policy.review_from,
            review_to=review.policy.review_to,
            model=identity.model if identity else None,
            revision=identity.revision if identity else None,
            weights_sha256=identity.weights_sha256 if identity else None,
            backend=identity.backend if identity else None,
            width=image.width if image else None,
            height=image.height if image else None,
            format=image.format if image else None,
            frame=prediction.frame if prediction else None,
            frames=image.frames if image else None,
            warnings=list(review.warnings),
            error=review.problem,
            categories=dict(review.categories) or None,
            detail=DetailResult.of(review.detail) if review.detail else None,
            **added,
        )


_KEYS = tuple(field.name for field in fields(ImageResult))
_DETAIL_KEYS = tuple(field.name for field in fields(DetailResult))


def review_json(review: Review) -> dict[str, Any]:
    """The JSON object of one image: the same in the page's API, the REST API and the commands."""
    result = ImageResult.of(review)
    values = {name: getattr(result, name) for name in _KEYS}  # `asdict` takes ten times as long
    values["warnings"] = [asdict(warning) for warning in result.warnings]
    values["error"] = _problem_json(result.error)
    if result.detail is not None:
        detail = {name: getattr(result.detail, name) for name in _DETAIL_KEYS}
        values["detail"] = {**detail, "error": _problem_json(result.detail.error)}
    return values


def _problem_json(problem: ImageProblem | None) -> dict[str, str] | None:
    return asdict(problem) if problem else None


_PROBLEM_COLUMNS = tuple(f"error_{field.name}" for field in fields(ImageProblem))
_OBJECTS = ("probabilities", "categories", "detail_probabilities")  # JSON in CSV
# The keys of `review_json`; objects that are not in `_OBJECTS` have a column for each key.
DETAIL_COLUMNS = tuple(
    f"detail_{name}"
    for name in (*(key for key in _DETAIL_KEYS if key != "error"), *_PROBLEM_COLUMNS)
)
REVIEW_COLUMNS = (
    *(key for key in _KEYS if key not in {"error", "categories", "detail"}),
    *_PROBLEM_COLUMNS,
    "categories",
    *DETAIL_COLUMNS,
)


def flattened(values: Mapping[str, Any]) -> dict[str, Any]:
    """`review_json` with `error` and `detail` in columns, which are empty where these are null."""
    row = dict(values)
    error, detail = row.pop("error") or {}, row.pop("detail") or {}
    detail_error = detail.get("error") or {}
    row |= dict.fromkeys((*_PROBLEM_COLUMNS, *DETAIL_COLUMNS))
    row |= {f"error_{key}": value for key, value in error.items()}
    row |= {f"detail_{key}": value for key, value in detail.items() if key != "error"}
    return row | {f"detail_error_{key}": value for key, value in detail_error.items()}


def review_csv_heading() -> str:
    """The CSV header of images."""
    return csv_line(REVIEW_COLUMNS)


def review_csv(review: Review) -> str:
    """The CSV row of one image: `review_json`, flattened.

    Probabilities are JSON objects, so that the columns are the same for every model; `warnings`
    is a JSON list of their codes.
    """
    row = flattened(review_json(review))
    row["warnings"] = json.dumps([warning.code for warning in review.warnings])
    row |= {key: json.dumps(row[key]) if row[key] else None for key in _OBJECTS}
    return csv_line(row.get(column) for column in REVIEW_COLUMNS)
