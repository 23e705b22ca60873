"""Predictions of images: stored ones where there are any, computed and stored otherwise.

- The same bytes are never computed twice by one model, also when they arrive several times at once.
- An image costs at most one look-up before and one write transaction after inference.
- `Upload.retain` alone decides what is kept; with `Retain.NOTHING` the store is not used at all.
"""

import threading
from dataclasses import replace
from weakref import WeakValueDictionary

from PIL import Image

from nsfw_app.imaging import decode
from nsfw_app.imaging import previews as renderings
from nsfw_app.imaging.decode import Limits
from nsfw_app.models.classifier import Classifier
from nsfw_app.models.equivalence import EquivalentBackends
from nsfw_app.models.loader import ModelLoader
from nsfw_app.records import JudgedImage, Policy, Retain, Upload
from nsfw_app.review import pipeline, unstored
from nsfw_app.review.pipeline import ImageFile
from nsfw_app.review.previews import Previews, describe, rendered_frame
from nsfw_app.rules.policy import judge
from nsfw_app.store import Store
from nsfw_app.store.arrivals import Arrival


class Predictions:
    """Predictions over a store.

    Args:
        store: Catalog, queue rules and retention.
        loader: Source of the model.
        previews: Renders previews, and knows which are kept.
        limits: Largest input accepted.
        equivalents: Backends whose stored predictions are used in place of a new one.
    """

    def __init__(
        self,
        store: Store,
        loader: ModelLoader,
        *,
        previews: Previews,
        limits: Limits,
        equivalents: EquivalentBackends,
    ) -> None:
        self._store = store
        self._loader = loader
        self._previews = previews
        self._limits = limits
        self._equivalents = equivalents
        self._lock = threading.Lock()  # guards `_locks`
        self._locks: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()

    def classify(self, data: bytes, upload: Upload, policy: Policy) -> JudgedImage:
        """The prediction of an image, with what `upload.retain` asks for stored.

        Args:
            data: The file's bytes.
            upload: Its name, where it came from, and what is kept of it.
            policy: In force for the model; decides whether the image enters the queue.

        Raises:
            ImageError: The bytes are not an image within the limits.
            ModelError: The model failed or is not loaded.
            StorageError: Nothing was stored.
        """
        file = ImageFile.of(data, upload.name)
        classifier = self._loader.classifier
        with decode.memory_for(file.name):
            if upload.retain is Retain.NOTHING:
                return unstored.classify(file, classifier, self._limits)
            with self._lock_of(file.sha256):  # spans look-up and storing
                return self._classify(file, classifier, upload, policy)

    def _classify(
        self, file: ImageFile, classifier: Classifier, upload: Upload, policy: Policy
    ) -> JudgedImage:
        catalog, rendered = self._store.catalog, None
        backends = self._equivalents.of(classifier.identity, policy)
        image = catalog.find(file.sha256, classifier.identity, backends=backends)
        if image is None:
            image, rendered = self._compute(file, classifier, upload.retain)
        arrival = self._arrival(image, upload, policy)
        drawn = arrival is not None and arrival.admission.reason is not None
        if upload.retain is Retain.SCORE or (upload.retain is Retain.SUBMISSION and not drawn):
            known = image.prediction_id and (arrival is None or image.arrived)
            return image if known else catalog.record(image, arrival=arrival)
        if self._previews.is_kept(image):
            return catalog.record(image, upload, arrival=arrival)
        rendered = self._rendered(file, image, rendered)
        preview = describe(rendered)
        if not self._store.purges.retention.keeps_any:
            return replace(catalog.record(image, upload, arrival=arrival), preview=preview)
        image = replace(image, preview=preview)
        return catalog.record(image, upload, jpeg=renderings.preview(rendered), arrival=arrival)

    def _compute(
        self, file: ImageFile, classifier: Classifier, retain: Retain
    ) -> tuple[JudgedImage, Image.Image | None]:
        """The prediction, and the frame at preview size where it was decoded with enough pixels."""
        side = 0 if retain is Retain.SCORE else renderings.PREVIEW_SIDE
        return pipeline.classify(
            file,
            classifier,
            limits=self._limits,
            # Few submissions enter the queue: the others need no pixels for a preview.
            min_longer=0 if retain is Retain.SUBMISSION else renderings.min_side(side),
            preview_side=side,
        )

    def _rendered(
        self, file: ImageFile, image: JudgedImage, rendered: Image.Image | None
    ) -> Image.Image:
        """The frame of the prediction, decoded again unless it is rendered already."""
        if rendered is not None:
            return rendered
        with self._loader.classifier.cpu_slots.acquire():
            frame = rendered_frame(file.data, image.prediction, name=file.name, limits=self._limits)
            return renderings.fitted(frame, renderings.PREVIEW_SIDE)

    def _arrival(self, image: JudgedImage, upload: Upload, policy: Policy) -> Arrival | None:
        if not upload.retain.queues:
            return None
        score = image.prediction.nsfw_score
        verdict = judge(score, policy, incomplete=image.info.incomplete)
        admission = self._store.queue.rules.admit(image.prediction, verdict.action)
        return Arrival(admission, upload.source, policy.version)

    def _lock_of(self, sha256: str) -> threading.Lock:
        """The lock of an image, for as long as a thread uses it."""
        with self._lock:
            return self._locks.setdefault(sha256, threading.Lock())
