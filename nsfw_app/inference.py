"""From bytes to a prediction: looked up, or computed once and stored.

What always holds: the same bytes are never judged twice by the same model, also when they arrive
several times at once; of an image without an owner nothing is kept that people could look at, and
of one that was only tried out nothing at all.
"""

import threading
from dataclasses import dataclass, replace
from pathlib import Path

from nsfw_app import images, previews
from nsfw_app.classifiers import Classifier, nsfw_score
from nsfw_app.classifiers.loading import ModelLoader
from nsfw_app.images import DecodedImage, Enough, Frame, Limits
from nsfw_app.records import ImageInfo, Look, Prediction, Upload
from nsfw_app.store import Store
from nsfw_app.store.catalog import Stored

STRIPES = 256
NOTHING = Look(b"")


@dataclass(frozen=True, slots=True)
class Judged:
    """An image, what a model said of it, and what stands for it."""

    info: ImageInfo
    prediction: Prediction
    look: Look


class Inference:
    """Predictions over a store.

    Args:
        store: Where predictions and pictures are kept.
        loader: Where the classifier comes from.
        limits: What is accepted as input.
    """

    def __init__(self, store: Store, loader: ModelLoader, *, limits: Limits) -> None:
        self._store = store
        self._loader = loader
        self._limits = limits
        # Equal bytes meet at the same lock; different ones rarely do.
        self._locks = tuple(threading.Lock() for _ in range(STRIPES))

    def judge(self, data: bytes, upload: Upload) -> Judged:
        """What the model says of an image, kept. With an owner, a picture is kept for them.

        Raises:
            ImageError: The bytes are no image within the limits.
            ModelError: The model cannot answer.
        """
        sha256 = images.sha256(data)
        name = Path(upload.name).name
        classifier = self._loader.classifier
        stored = self._store.catalog.find(sha256, classifier.identity)
        if stored and (upload.owner is None or self._is_kept(stored)):
            images.check_extension(name, stored.info.format)
            if upload.owner is not None:
                self._store.catalog.add_upload(sha256, upload)
            return Judged(stored.info, stored.prediction, stored.look)
        shown = 0 if upload.owner is None else previews.PICTURE_SIDE
        decoded = self._decoded(classifier, data, name, longer=shown, known_as=sha256)
        judged = self._judged(classifier, data, decoded)
        return judged if upload.owner is None else self._kept(judged, decoded, upload)

    def try_out(self, data: bytes, *, name: str) -> Judged:
        """What the model says of an image of which nothing is kept; see `judge`."""
        classifier = self._loader.classifier
        decoded = self._decoded(classifier, data, Path(name).name)
        prediction = self._predicted(classifier, data, decoded)
        return Judged(decoded.info, prediction, _look(_frame_of(prediction, decoded)))

    def _decoded(
        self,
        classifier: Classifier,
        data: bytes,
        name: str,
        *,
        longer: int = 0,
        known_as: str | None = None,
    ) -> DecodedImage:
        """An image with the pixels that the model needs, and those of its longer side."""
        enough = Enough(classifier.glances[0].pixels, longer)
        return images.decode(data, name=name, limits=self._limits, enough=enough, known_as=known_as)

    def _is_kept(self, stored: Stored) -> bool:
        """Whether all that people need to look at an image is there."""
        return bool(stored.look.placeholder) and self._store.pictures.has(stored.info.sha256)

    def _judged(self, classifier: Classifier, data: bytes, decoded: DecodedImage) -> Judged:
        """The stored prediction, or a new one. The lock spans look-up and storing."""
        sha256 = decoded.info.sha256
        with self._locks[int(sha256, 16) % STRIPES]:
            stored = self._store.catalog.find(sha256, classifier.identity)
            if stored:
                return Judged(stored.info, stored.prediction, stored.look)
            prediction = self._predicted(classifier, data, decoded)
            self._store.catalog.add_prediction(decoded.info, prediction)
            return Judged(decoded.info, prediction, NOTHING)

    def _predicted(self, classifier: Classifier, data: bytes, decoded: DecodedImage) -> Prediction:
        """The prediction of the frame with the highest nsfw score.

        Reduced scale is enough to call an image safe beyond doubt. With doubt it is decoded again,
        with more pixels or all of them, and that score counts.
        """
        sha256 = decoded.info.sha256
        prediction = _of_the_worst(classifier, decoded)
        while decoded.reduced:
            score = prediction.nsfw_score
            needed = next((g.pixels for g in classifier.glances if score < g.below), None)
            if needed is not None and min(decoded.frames[0].image.size) >= needed:
                break
            decoded = images.decode(
                data,
                name=sha256,
                limits=self._limits,
                enough=Enough(needed) if needed else None,
                known_as=sha256,
            )
            prediction = _of_the_worst(classifier, decoded)
        return prediction

    def _kept(self, judged: Judged, decoded: DecodedImage, upload: Upload) -> Judged:
        """The same with what people need to look at it, kept unless the settings forbid it."""
        store, sha256 = self._store, decoded.info.sha256
        store.catalog.add_upload(sha256, upload)  # first: a picture that nobody brought is purged
        frame = _frame_of(judged.prediction, decoded)
        look = _look(frame)
        if store.purges.retention.keeps_any:
            store.catalog.set_look(sha256, look)
            if not store.pictures.has(sha256):
                store.pictures.add(sha256, previews.picture(frame.image))
        return replace(judged, look=look)


def picture(data: bytes, *, name: str, frame: int, limits: Limits) -> bytes:
    """One frame of an image for a person to look at, JPEG, of which nothing is kept.

    Args:
        data: The file's bytes.
        name: The file's name.
        frame: Its number from 0; the nearest of those looked at is taken.
        limits: What is accepted.

    Raises:
        ImageError: The bytes are no image within the limits.
    """
    enough = Enough(longer=previews.PICTURE_SIDE)
    decoded = images.decode(data, name=Path(name).name, limits=limits, enough=enough)
    return previews.picture(_nearest(decoded, frame).image)


def _of_the_worst(classifier: Classifier, decoded: DecodedImage) -> Prediction:
    answers = classifier.predict([frame.image for frame in decoded.frames])
    scores = [nsfw_score(answer, classifier.roles) for answer in answers]
    worst = max(range(len(scores)), key=scores.__getitem__)
    return Prediction(
        decoded.info.sha256,
        classifier.identity,
        answers[worst],
        scores[worst],
        decoded.frames[worst].number,
    )


def _look(frame: Frame) -> Look:
    small = previews.fitted(frame.image, previews.HASHED_SIDE)
    return Look(previews.placeholder(small), previews.perceptual_hash(small))


def _frame_of(prediction: Prediction, decoded: DecodedImage) -> Frame:
    return _nearest(decoded, prediction.frame)


def _nearest(decoded: DecodedImage, number: int) -> Frame:
    """That frame, or the nearest when other frames are looked at by now."""
    return min(decoded.frames, key=lambda frame: abs(frame.number - number))
