"""Predictions of images: stored ones where there are any, computed and stored otherwise.

- The same bytes are never computed twice by one model, also when they arrive several times at once.
- An image costs at most one look-up before and one write transaction after inference; one that the
  detail model is asked about and that is stored already, one look-up more.
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
from nsfw_app.review.detail import DetailModel
from nsfw_app.review.pipeline import Classified, ImageFile
from nsfw_app.review.policies import verdict_of
from nsfw_app.review.previews import Previews, describe, rendered_frame
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
        detail: The detail model, if there is one.
    """

    def __init__(
        self,
        store: Store,
        loader: ModelLoader,
        *,
        previews: Previews,
        limits: Limits,
        equivalents: EquivalentBackends,
        detail: DetailModel | None = None,
    ) -> None:
        self._store = store
        self._loader = loader
        self._previews = previews
        self._limits = limits
        self._equivalents = equivalents
        self._detail = detail
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
                return unstored.classify(
                    file, classifier, self._limits, policy=policy, detail=self._detail
                )
            with self._lock_of(file.sha256):  # spans look-up and storing
                return self._classify(file, classifier, upload, policy)

    def _classify(
        self, file: ImageFile, classifier: Classifier, upload: Upload, policy: Policy
    ) -> JudgedImage:
        catalog = self._store.catalog
        backends = self._equivalents.of(classifier.identity, policy)
        found = catalog.find(file.sha256, classifier.identity, backends=backends)
        classified = (
            Classified(found)
            if found is not None
            else self._compute(file, classifier, upload.retain, policy)
        )
        image = self._with_detail(file, classified, policy)
        detailed = image.detail
        is_new = detailed is not None and detailed.identity and not detailed.row_id
        arrival = self._arrival(image, upload, policy)
        drawn = arrival is not None and arrival.admission.reason is not None
        if upload.retain is Retain.SCORE or (upload.retain is Retain.SUBMISSION and not drawn):
            known = image.prediction_id and not is_new and (arrival is None or image.arrived)
            return image if known else catalog.record(image, arrival=arrival)
        if self._previews.is_kept(image):
            return catalog.record(image, upload, arrival=arrival)
        rendered = self._rendered(file, image, classified.rendered)
        preview = describe(rendered)
        if not self._store.purges.retention.keeps_any:
            return replace(catalog.record(image, upload, arrival=arrival), preview=preview)
        image = replace(image, preview=preview)
        return catalog.record(image, upload, jpeg=renderings.preview(rendered), arrival=arrival)

    def _compute(
        self, file: ImageFile, classifier: Classifier, retain: Retain, policy: Policy
    ) -> Classified:
        """The prediction, and what its decoding leaves; see `Classified`."""
        side = 0 if retain is Retain.SCORE else renderings.PREVIEW_SIDE
        return pipeline.classify(
            file,
            classifier,
            limits=self._limits,
            # Few submissions enter the queue: the others need no pixels for a preview.
            min_longer=0 if retain is Retain.SUBMISSION else renderings.min_side(side),
            preview_side=side,
            detail=self._detail,
            policy=policy,
        )

    def _with_detail(self, file: ImageFile, classified: Classified, policy: Policy) -> JudgedImage:
        """The image with what the detail model says of it: stored, or computed if it is asked."""
        image, detail = classified.image, self._detail
        if detail is None or not detail.wants(image, policy):
            return image
        if identity := detail.identity:
            stored = self._store.catalog.find_detail(
                image.prediction, identity, backends=detail.backends_of(identity)
            )
            if stored is not None:
                return replace(image, detail=stored)
        return detail.judge(
            file.data,
            image,
            name=file.name,
            limits=self._limits,
            prepared=classified.detail_input,
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
        action = verdict_of(image, policy).action
        admission = self._store.queue.rules.admit(image.prediction, action)
        return Arrival(admission, upload.source, policy.version)

    def _lock_of(self, sha256: str) -> threading.Lock:
        """The lock of an image, for as long as a thread uses it."""
        with self._lock:
            return self._locks.setdefault(sha256, threading.Lock())
