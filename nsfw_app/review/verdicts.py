"""Reviews of judged images: verdict and warnings are put together here and nowhere else. Pure."""

from nsfw_app.imaging.image_warnings import warnings_of
from nsfw_app.records import (
    ImageInfo,
    Policy,
    Prediction,
    Preview,
    Review,
)
from nsfw_app.rules.policy import judge


def reviewed(
    name: str, policy: Policy, image: ImageInfo, prediction: Prediction, preview: Preview
) -> Review:
    """The review of an image that has a prediction."""
    return Review(
        name,
        policy,
        judge(prediction.nsfw_score, policy, incomplete=image.incomplete),
        image.sha256,
        image,
        prediction,
        preview,
        warnings=warnings_of(name, image, prediction.ground),
    )
