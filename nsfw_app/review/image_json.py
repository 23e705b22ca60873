"""The JSON object of an image, and the same as a CSV row.

`ImageResult` defines its keys for the page, the REST API, its schema and the commands.
"""

import json
from dataclasses import asdict, dataclass, fields
from typing import Annotated, Any, Literal, Self, cast

from pydantic import Field

from nsfw_app.records import ImageProblem, ImageWarning, Review
from nsfw_app.review.csv_lines import csv_line


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
            **added,
        )


_KEYS = tuple(field.name for field in fields(ImageResult))


def review_json(review: Review) -> dict[str, Any]:
    """The JSON object of one image: the same in the page's API, the REST API and the commands."""
    result = ImageResult.of(review)
    values = {name: getattr(result, name) for name in _KEYS}  # `asdict` takes ten times as long
    values["warnings"] = [asdict(warning) for warning in result.warnings]
    values["error"] = asdict(result.error) if result.error else None
    return values


# The keys of `review_json`, with the error in two columns.
REVIEW_COLUMNS = (
    *(field.name for field in fields(ImageResult) if field.name != "error"),
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
