"""From bytes to a prediction: decode, prepare, predict. Does not access the store.

- No more images are decoded at once than there are CPU slots.
- While an image waits for the model, only its prepared input and its preview are in memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from PIL import Image

from nsfw_app.imaging import decode, previews
from nsfw_app.imaging.decode import Limits, MinSize
from nsfw_app.models.categories import BY_CARD
from nsfw_app.models.classifier import Classifier, Pixels, nsfw_score
from nsfw_app.records import Background, ImageInfo, JudgedImage, Policy, Prediction
from nsfw_app.review.detail import DetailModel
from nsfw_app.rules.detail import DetailWhen


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An uploaded file. `name` is what error messages call it, `sha256` the hash of its bytes."""

    data: bytes
    name: str
    sha256: str

    @classmethod
    def of(cls, data: bytes, name: str, sha256: str | None = None) -> Self:
        """A file of these bytes; of a path, messages have the last part only."""
        return cls(data, Path(name).name, sha256 or decode.sha256(data))


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A decoded file without its pixels: facts, and the model's input for each frame.

    - `sources` has the frame number and the background of each of `inputs`.
    - `shorter_side` is that of a frame, in pixels.
    - `rendered` is the only frame at preview size. None if the file has several frames or was
      decoded too small for a preview.
    - `detail_inputs` are the detail model's inputs of all frames, or of none.
    """

    info: ImageInfo
    reduced: bool
    shorter_side: int
    sources: Sequence[tuple[int, Background]]
    inputs: Sequence[Pixels]
    rendered: Image.Image | None
    detail_inputs: Sequence[Pixels]


@dataclass(frozen=True, slots=True)
class Classified:
    """An image with its prediction, and what its decoding leaves for the next steps.

    - `image` has no preview.
    - `rendered` is its only frame at preview size, if it was decoded with enough pixels.
    - `detail_input` is the detail model's input of the frame of the prediction, if it was prepared.
    """

    image: JudgedImage
    rendered: Image.Image | None = None
    detail_input: Pixels | None = None


def classify(
    file: ImageFile,
    classifier: Classifier,
    *,
    limits: Limits,
    min_longer: int = 0,
    preview_side: int = 0,
    detail: DetailModel | None = None,
    policy: Policy | None = None,
) -> Classified:
    """Compute the prediction of the frame with the highest nsfw score.

    A JPEG may be decoded at reduced scale first. If a downscale rule accepts that score it is
    used; otherwise the image is decoded again at higher or full resolution.

    The input of the detail model is prepared from the same pixels where it is always asked, where
    the reduced scale has a score that it is asked about, and where there are several frames; few
    other images need it.

    Args:
        file: The file.
        classifier: The model.
        limits: Largest input accepted.
        min_longer: Minimum longer side of the first decoding, in pixels.
        preview_side: Pixels of the longer side of the rendered frame; 0 renders none.
        detail: The detail model; None where it is not asked.
        policy: Decides whether it is asked; without one, it is taken to be.

    Raises:
        ImageError: The bytes are not an image within the limits.
        ModelError: The model failed.
    """
    is_always_asked = detail is not None and detail.when is DetailWhen.ALWAYS

    def prepare(min_size: MinSize | None, side: int, *, is_likely: bool) -> _Prepared:
        with classifier.cpu_slots.acquire():
            return _prepare(
                file,
                classifier,
                limits,
                min_size,
                side,
                detail=detail,
                is_likely=is_likely,
            )

    rules = () if is_always_asked else classifier.downscale_rules
    prepared = prepare(
        MinSize(rules[0].min_side, min_longer) if rules else None,
        preview_side,
        is_likely=is_always_asked,
    )
    info, rendered = prepared.info, prepared.rendered
    prediction, worst = _predict(classifier, prepared)
    while prepared.reduced:
        score = prediction.nsfw_score
        needed = next((rule.min_side for rule in rules if score < rule.max_score), None)
        if needed is not None and prepared.shorter_side >= needed:
            break
        prepared = prepare(
            MinSize(needed) if needed else None,
            preview_side if rendered is None else 0,
            is_likely=detail is not None and (policy is None or detail.wants_score(score, policy)),
        )
        rendered = rendered or prepared.rendered
        prediction, worst = _predict(classifier, prepared)
    inputs = prepared.detail_inputs
    return Classified(JudgedImage(info, prediction), rendered, inputs[worst] if inputs else None)


def _prepare(
    file: ImageFile,
    classifier: Classifier,
    limits: Limits,
    min_size: MinSize | None,
    preview_side: int,
    *,
    detail: DetailModel | None,
    is_likely: bool,
) -> _Prepared:
    decoded = decode.decode(
        file.data, name=file.name, limits=limits, min_size=min_size, sha256=file.sha256
    )
    frames = [frame.image for frame in decoded.frames]
    is_asked = detail is not None and (is_likely or len(frames) > 1) and not decoded.reduced
    enough = not decoded.reduced or max(frames[0].size) >= previews.min_side(preview_side)
    return _Prepared(
        info=decoded.info,
        reduced=decoded.reduced,
        shorter_side=min(frames[0].size),
        sources=[(frame.number, frame.background) for frame in decoded.frames],
        inputs=[classifier.prepare(image) for image in frames],
        rendered=(
            previews.fitted(frames[0], preview_side)
            if preview_side and enough and len(frames) == 1
            else None
        ),
        detail_inputs=detail.prepare(decoded.frames) if detail and is_asked else (),
    )


def _predict(classifier: Classifier, prepared: _Prepared) -> tuple[Prediction, int]:
    """The prediction of the frame with the highest score, and the frame's position."""
    probabilities = classifier.predict_prepared(prepared.inputs)
    scores = [nsfw_score(labels, classifier.roles) for labels in probabilities]
    worst = max(range(len(scores)), key=scores.__getitem__)
    identity = classifier.identity
    prediction = Prediction(
        prepared.info.sha256,
        identity,
        probabilities[worst],
        scores[worst],
        *prepared.sources[worst],
        categories=BY_CARD.judge(identity.model, probabilities[worst]),
    )
    return prediction, worst
