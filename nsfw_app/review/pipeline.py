"""From bytes to a prediction: looked up, or computed once and stored.

What always holds: the same bytes are never judged twice by the same model, also when they arrive
several times at once; of an image without an owner nothing is kept that people could look at, and
of one that was only tried out nothing at all. No more images are decoded for the model at once than
there are CPU threads, and while one waits only what the model and people need of it is in memory.
"""

import threading
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from nsfw_app.imaging import decode, previews
from nsfw_app.imaging.decode import DecodedImage, Limits, MinSize
from nsfw_app.models.classifier import Classifier, Pixels, nsfw_score
from nsfw_app.models.equivalence import EquivalentBackends
from nsfw_app.models.loader import ModelLoader
from nsfw_app.records import Ground, ImageInfo, Prediction, Preview, Upload
from nsfw_app.store import Store
from nsfw_app.store.catalog import Stored

STRIPES = 256
NOTHING = Preview(b"")


@dataclass(frozen=True, slots=True)
class Judged:
    """An image, what a model said of it, and what stands for it."""

    info: ImageInfo
    prediction: Prediction
    preview: Preview


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What is left of a file once it is decoded: its facts, and what its frames became.

    `shorter` is the shorter side of a frame in pixels. `shown` is the only frame as people look at
    it; None where there are several, of which the model has yet to choose. `sources` has for each
    of `prepared` the number of its frame and the ground that it is shown on.
    """

    info: ImageInfo
    reduced: bool
    shorter: int
    sources: Sequence[tuple[int, Ground]]
    prepared: Sequence[Pixels]
    shown: Image.Image | None


class Inference:
    """Predictions over a store.

    Args:
        store: Where predictions and pictures are kept.
        loader: Where the classifier comes from.
        limits: What is accepted as input.
        equivalents: Backends whose stored predictions are used in place of a new one.
    """

    def __init__(
        self,
        store: Store,
        loader: ModelLoader,
        *,
        limits: Limits,
        equivalents: EquivalentBackends,
    ) -> None:
        self._store = store
        self._loader = loader
        self._limits = limits
        self._equivalents = equivalents
        # Equal bytes meet at the same lock; different ones rarely do.
        self._locks = tuple(threading.Lock() for _ in range(STRIPES))

    def judge(self, data: bytes, upload: Upload) -> Judged:
        """What the model says of an image, kept. With an owner, a picture is kept for them.

        Raises:
            ImageError: The bytes are no image within the limits.
            ModelError: The model cannot answer.
        """
        with decode.memory_for(Path(upload.name).name):
            return self._judge(data, upload)

    def _judge(self, data: bytes, upload: Upload) -> Judged:
        sha256 = decode.sha256(data)
        name = Path(upload.name).name
        classifier = self._loader.classifier
        stored = self._stored(sha256, classifier)
        if stored and (upload.owner is None or self._is_kept(stored)):
            if upload.owner is not None:
                self._store.catalog.add_upload(sha256, upload)
            return Judged(stored.info, stored.prediction, stored.preview)
        side = 0 if upload.owner is None else previews.PREVIEW_SIDE
        min_size = _min_size(classifier, side)
        seen = self._seen(classifier, data, name, min_size, known_as=sha256, side=side)
        judged = self._judged(classifier, data, seen)
        return judged if upload.owner is None else self._kept(judged, data, seen, upload)

    def try_out(self, data: bytes, *, name: str) -> Judged:
        """What the model says of an image of which nothing is kept; see `judge`."""
        classifier = self._loader.classifier
        side = previews.HASHED_SIDE
        min_size = _min_size(classifier)
        name = Path(name).name
        with decode.memory_for(name):
            seen = self._seen(classifier, data, name, min_size, side=side)
            prediction = self._predicted(classifier, data, seen)
            return Judged(
                seen.info, prediction, _preview(self._shown(data, prediction, seen, side))
            )

    def render_preview(self, data: bytes, *, name: str, frame: int, ground: Ground) -> bytes:
        """One frame of an image for a person to look at, JPEG, of which nothing is kept.

        Args:
            data: The file's bytes.
            name: The file's name.
            frame: Its number from 0; the nearest of those looked at is taken.
            ground: The color behind its transparent pixels.

        Raises:
            ImageError: The bytes are no image within the limits.
        """
        classifier = self._loader.status.classifier  # people may look before there is one
        name = Path(name).name
        with (
            classifier.cpu_slots.acquire() if classifier else nullcontext(),
            decode.memory_for(name),
        ):
            return previews.preview(self._frame(data, name, frame, ground))

    def _seen(
        self,
        classifier: Classifier,
        data: bytes,
        name: str,
        min_size: MinSize | None,
        *,
        known_as: str | None = None,
        side: int = 0,
    ) -> _Prepared:
        """An image decoded with enough pixels; its only frame is kept with `side` at most."""
        with classifier.cpu_slots.acquire():
            decoded = decode.decode(
                data, name=name, limits=self._limits, min_size=min_size, known_as=known_as
            )
            frames = [frame.image for frame in decoded.frames]
            return _Prepared(
                info=decoded.info,
                reduced=decoded.reduced,
                shorter=min(frames[0].size),
                sources=[(frame.number, frame.ground) for frame in decoded.frames],
                prepared=[classifier.prepare(image) for image in frames],
                shown=previews.fitted(frames[0], side) if side and len(frames) == 1 else None,
            )

    def _stored(self, sha256: str, classifier: Classifier) -> Stored | None:
        """The stored prediction by the model, also by another of its verified backends."""
        identity = classifier.identity
        backends = self._equivalents.of(identity)
        return self._store.catalog.find(sha256, identity, backends=backends)

    def _is_kept(self, stored: Stored) -> bool:
        """Whether all that people need to look at an image is there."""
        return bool(stored.preview.placeholder) and self._store.previews.has(stored.info.sha256)

    def _judged(self, classifier: Classifier, data: bytes, seen: _Prepared) -> Judged:
        """The stored prediction, or a new one. The lock spans look-up and storing."""
        sha256 = seen.info.sha256
        with self._locks[int(sha256, 16) % STRIPES]:
            stored = self._stored(sha256, classifier)
            if stored:
                return Judged(stored.info, stored.prediction, stored.preview)
            prediction = self._predicted(classifier, data, seen)
            self._store.catalog.add_prediction(seen.info, prediction)
            return Judged(seen.info, prediction, NOTHING)

    def _predicted(self, classifier: Classifier, data: bytes, seen: _Prepared) -> Prediction:
        """The prediction of the frame with the highest nsfw score.

        Reduced scale is enough to call an image safe beyond doubt. With doubt it is decoded again,
        with more pixels or all of them, and that score counts.
        """
        sha256 = seen.info.sha256
        prediction = _of_the_worst(classifier, seen)
        while seen.reduced:
            score = prediction.nsfw_score
            needed = next(
                (g.min_side for g in classifier.downscale_rules if score < g.max_score), None
            )
            if needed is not None and seen.shorter >= needed:
                break
            min_size = MinSize(needed) if needed else None
            seen = self._seen(classifier, data, sha256, min_size, known_as=sha256)
            prediction = _of_the_worst(classifier, seen)
        return prediction

    def _kept(self, judged: Judged, data: bytes, seen: _Prepared, upload: Upload) -> Judged:
        """The same with what people need to look at it, kept unless the settings forbid it."""
        catalog, sha256 = self._store.catalog, seen.info.sha256
        shown = self._shown(data, judged.prediction, seen, previews.PREVIEW_SIDE)
        preview = _preview(shown)
        if self._store.purges.retention.keeps_any:
            catalog.keep(sha256, upload, preview, previews.preview(shown))
        else:
            catalog.add_upload(sha256, upload)
        return replace(judged, preview=preview)

    def _shown(
        self, data: bytes, prediction: Prediction, seen: _Prepared, side: int
    ) -> Image.Image:
        """The frame that the prediction is of, as people look at it."""
        if seen.shown is not None:
            return seen.shown
        with self._loader.classifier.cpu_slots.acquire():
            source = prediction.frame, prediction.ground
            return previews.fitted(self._frame(data, seen.info.sha256, *source), side)

    def _frame(self, data: bytes, name: str, number: int, ground: Ground) -> Image.Image:
        """A frame with the pixels that people need, or the nearest of those looked at."""
        min_size = MinSize(longer=previews.PREVIEW_SIDE)
        decoded = decode.decode(data, name=name, limits=self._limits, min_size=min_size)
        return _nearest(decoded, number, ground)


def _min_size(classifier: Classifier, longer: int = 0) -> MinSize | None:
    """The pixels to begin with, for a model and for people."""
    return (
        MinSize(classifier.downscale_rules[0].min_side, longer)
        if classifier.downscale_rules
        else None
    )


def _of_the_worst(classifier: Classifier, seen: _Prepared) -> Prediction:
    answers = classifier.predict_prepared(seen.prepared)
    scores = [nsfw_score(answer, classifier.roles) for answer in answers]
    worst = max(range(len(scores)), key=scores.__getitem__)
    return Prediction(
        seen.info.sha256,
        classifier.identity,
        answers[worst],
        scores[worst],
        *seen.sources[worst],
    )


def _preview(image: Image.Image) -> Preview:
    small = previews.fitted(image, previews.HASHED_SIDE)
    return Preview(previews.placeholder(small), previews.perceptual_hash(small))


def _nearest(decoded: DecodedImage, number: int, ground: Ground) -> Image.Image:
    """The frame with this number on this ground; else one near to it, and on the other ground."""
    frames = decoded.frames
    return min(frames, key=lambda f: (abs(f.number - number), f.ground != ground)).image
