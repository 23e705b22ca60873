"""Reviews of images of which nothing is stored: they need a model and a policy, and no store."""

from collections.abc import Callable
from dataclasses import replace

from PIL import Image

from nsfw_app.errors import ImageError, ModelError, NSFWReviewError
from nsfw_app.imaging import decode
from nsfw_app.imaging import previews as renderings
from nsfw_app.imaging.decode import Limits
from nsfw_app.models.classifier import Classifier
from nsfw_app.records import ImageProblem, JudgedImage, Policy, Preview, Review, Verdict
from nsfw_app.review import pipeline
from nsfw_app.review.detail import DetailModel
from nsfw_app.review.pipeline import ImageFile
from nsfw_app.review.policies import reviewed
from nsfw_app.review.previews import describe, hashed, rendered_frame


def review(
    data: bytes,
    name: str,
    *,
    classifier: Classifier,
    policy: Policy,
    limits: Limits,
    sha256: str | None = None,
    detail: DetailModel | None = None,
) -> Review:
    """Classify one image; a problem is part of the result, never an exception.

    Its preview is the perceptual hash alone.

    Args:
        data: The file's bytes.
        name: What the result is called, for example a path.
        classifier: The model.
        policy: Decides label and action.
        limits: Largest input accepted.
        sha256: Of the bytes; computed if None.
        detail: The detail model; None where it is not asked.
    """
    file = ImageFile.of(data, name, sha256)
    try:
        with decode.memory_for(file.name):
            image = classify(
                file, classifier, limits, policy=policy, detail=detail, described=hashed
            )
    except (ImageError, ModelError) as error:
        return unavailable(name, policy, error, sha256=file.sha256)
    return reviewed(name, policy, image)


def classify(
    file: ImageFile,
    classifier: Classifier,
    limits: Limits,
    *,
    policy: Policy,
    detail: DetailModel | None = None,
    described: Callable[[Image.Image], Preview] = describe,
) -> JudgedImage:
    """The predictions of an image, with what `described` makes of its frame.

    Args:
        file: The file.
        classifier: The model.
        limits: Largest input accepted.
        policy: Decides whether the detail model is asked.
        detail: The detail model, if there is one.
        described: Makes the preview of the frame.

    Raises:
        ImageError: The bytes are not an image within the limits.
        ModelError: The model failed.
    """
    side = renderings.HASHED_SIDE
    classified = pipeline.classify(
        file,
        classifier,
        limits=limits,
        min_longer=renderings.min_side(side),
        preview_side=side,
        detail=detail,
        policy=policy,
    )
    image, rendered = classified.image, classified.rendered
    if detail is not None and detail.wants(image, policy):
        image = detail.judge(
            file.data, image, name=file.name, limits=limits, prepared=classified.detail_input
        )
    if rendered is None:
        with classifier.cpu_slots.acquire():
            frame = rendered_frame(file.data, image.prediction, name=file.name, limits=limits)
            rendered = renderings.fitted(frame, side)
    return replace(image, preview=described(rendered))


def unavailable(
    name: str, policy: Policy, error: NSFWReviewError, *, sha256: str | None = None
) -> Review:
    """The review of a file that could not be read or classified."""
    problem = ImageProblem(error.kind, str(error))
    return Review(name, policy, Verdict(), sha256, problem=problem)
