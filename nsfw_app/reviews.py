"""Reviews of judged images: verdict and warnings are put together here and nowhere else. Pure."""

from dataclasses import replace

from nsfw_app.images import extension_warning
from nsfw_app.policy import judge
from nsfw_app.records import (
    Ground,
    ImageInfo,
    ImageWarning,
    Look,
    Policy,
    Prediction,
    Review,
    WarningCode,
)


def reviewed(
    name: str, policy: Policy, image: ImageInfo, prediction: Prediction, look: Look
) -> Review:
    """The review of an image that has a prediction."""
    return Review(
        name,
        policy,
        judge(prediction.nsfw_score, policy, incomplete=image.incomplete),
        image.sha256,
        image,
        prediction,
        look,
        warnings=warnings_of(name, image, prediction.ground),
    )


def warnings_of(name: str, image: ImageInfo, ground: Ground) -> tuple[ImageWarning, ...]:
    """All warnings about a file, in the order of `WarningCode`.

    Args:
        name: What the file is called in this review.
        image: With the warnings about its bytes.
        ground: What the prediction in this review is of.
    """
    extension = extension_warning(name, image.format)
    return tuple(
        replace(warning, message=f"{warning.message} {_chosen(ground)}")
        if warning.code is WarningCode.TRANSPARENCY
        else warning
        for warning in ((extension,) if extension else ()) + image.warnings
    )


def _chosen(ground: Ground) -> str:
    return f"Both were judged; score and preview are of the one on {ground}."
