"""Exceptions of explanations; see `errors` for the tree that they belong to.

NSFWReviewError
└── ExplanationError     a score cannot be explained
    ├── PixelsMissing    no preview of the image or frame is kept, and its file was not sent
    ├── ScoreHidden      the score is hidden from the reviewer until the decision
    ├── OtherModel       the score is of a model that is not loaded
    ├── MethodUnavailable    the model cannot be explained, or not by the named method
    └── ExplanationCancelled    it was cancelled, or no page waits for it any more
"""

from nsfw_app.errors import NSFWReviewError


class ExplanationError(NSFWReviewError):
    """A score cannot be explained."""

    kind: str = "explanation"


class PixelsMissing(ExplanationError):
    """No preview of the image is kept, or maybe of another frame, and its file was not sent."""

    kind: str = "no_pixels"

    def __init__(self, why: str = "No preview of this image is kept") -> None:
        super().__init__(f"{why}, so its score cannot be explained. Upload the image again.")


class ScoreHidden(ExplanationError):
    """The score is hidden from the reviewer until the decision."""

    kind: str = "score_hidden"

    def __init__(self) -> None:
        super().__init__(
            "The score of this image is hidden until you have decided, and its explanation with it."
        )


class OtherModel(ExplanationError):
    """The score is of a model that is not loaded."""

    kind: str = "other_model"


class MethodUnavailable(ExplanationError):
    """The model cannot be explained, or not by the named method."""

    kind: str = "method"


class ExplanationCancelled(ExplanationError):
    """It was cancelled, or no page waits for it any more."""

    kind: str = "cancelled"

    def __init__(self) -> None:
        super().__init__("The explanation was cancelled.")
