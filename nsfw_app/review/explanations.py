"""Explanations of scores on request: checked, computed, and kept.

- One is computed at a time in a process, in parts that give way to every other image.
- Callers who may not see an image, or not its score yet, get no explanation of it.
- An explanation does not count as a view of the image.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from PIL import Image

from nsfw_app.concurrency import Priority
from nsfw_app.errors import (
    ImageRestricted,
    NotFound,
    StorageError,
)
from nsfw_app.explain_errors import OtherModel, PixelsMissing, ScoreHidden
from nsfw_app.imaging import decode, heat_map
from nsfw_app.imaging import previews as renderings
from nsfw_app.imaging.decode import Limits
from nsfw_app.models.cards import display_name
from nsfw_app.models.classifier import Classifier
from nsfw_app.models.explain.covered_scores import Progress, go_on
from nsfw_app.models.explain.explainer import explain
from nsfw_app.models.explain.explanation import VERSION, Explanation, Method
from nsfw_app.models.loader import ModelLoader
from nsfw_app.records import JudgedImage, ModelIdentity, Prediction
from nsfw_app.review import pipeline
from nsfw_app.review.explanation_requests import (
    ExplanationRequest,
    ExplanationRequests,
    ExplanationState,
    ExplanationStatus,
    Pixels,
)
from nsfw_app.review.pipeline import ImageFile
from nsfw_app.review.previews import Previews, rendered_frame
from nsfw_app.rules.permissions import Caller
from nsfw_app.store import Store

log = logging.getLogger(__name__)


class ExplanationService:
    """Explanations over a store.

    Args:
        store: Predictions, who may see them, and kept explanations.
        loader: Source of the model.
        previews: Which images are restricted.
        limits: Largest input accepted.
    """

    def __init__(
        self, store: Store, loader: ModelLoader, *, previews: Previews, limits: Limits
    ) -> None:
        self._store = store
        self._loader = loader
        self._previews = previews
        self._limits = limits
        self._requests = ExplanationRequests(self._computed)

    def start(
        self, image_sha256: str, identity: ModelIdentity, caller: Caller
    ) -> ExplanationStatus:
        """Request the explanation of a stored prediction, from the kept preview of its image.

        Args:
            image_sha256: The image.
            identity: The model of the prediction.
            caller: Who asks.

        Raises:
            NotFound: There is no such prediction, or the caller may not see the image.
            ScoreHidden: The caller reviews the image blind.
            OtherModel: The prediction is of a model that is not loaded.
            PixelsMissing: No preview is kept, or it may be of another prediction's frame.
            ModelError: The model is not loaded.
            Overloaded: Too many requests wait.
        """
        if not self._store.visibility.is_visible(image_sha256, caller):
            raise NotFound("No such image.")
        image = self._visible_prediction(image_sha256, identity, caller)
        if (kept := self._kept(image)) is not None:
            return kept
        self._check_model(identity)
        if not self._store.previews.has(image_sha256):
            raise PixelsMissing
        if self._store.catalog.has_other_frame(image.prediction):
            raise PixelsMissing(
                "The kept preview of this image may show another frame or background than this "
                "score is of"
            )
        return self._enqueue(image, caller, partial(self._kept_frame, image.prediction))

    def start_with_file(
        self, data: bytes, name: str, identity: ModelIdentity, caller: Caller
    ) -> ExplanationStatus:
        """Request the explanation of a prediction, from the file that it is of; see `start`.

        Args:
            data: The file's bytes.
            name: The file's name, for messages.
            identity: The model of the prediction.
            caller: Who asks. For one without an owner nothing is stored, and the prediction is
                computed again.

        Raises:
            ImageRestricted: Administrators only may see the image.
        """
        file = ImageFile.of(data, name)
        if caller.owner is None:
            self._check_model(identity)
            subject = (file.sha256, identity)
            return self._requests.add(
                ExplanationRequest(None, subject, 0, partial(self._unstored_frame, file))
            )
        if self._previews.hides(file.sha256, caller):
            raise ImageRestricted
        image = self._visible_prediction(file.sha256, identity, caller)
        if (kept := self._kept(image)) is not None:
            return kept
        self._check_model(identity)
        return self._enqueue(image, caller, partial(self._frame, file, image.prediction))

    def status(self, request_id: str, caller: Caller) -> ExplanationStatus:
        """The state of a request; polling keeps it from being cancelled.

        Raises:
            NotFound: The caller made no such request, or it ended long ago.
            ImageRestricted: The image was restricted since, and the caller is no administrator.
        """
        request = self._requests.find(request_id, caller)
        is_stored = request.explanation is not None and request.owner is not None
        if is_stored and self._previews.hides(request.subject[0], caller):
            raise ImageRestricted
        return request.status

    def cancel(self, request_id: str, caller: Caller) -> ExplanationStatus:
        """Stop waiting for a request; it is cancelled where its caller waits for it nowhere else.

        Raises:
            NotFound: See `status`.
        """
        request = self._requests.find(request_id, caller)
        self._requests.leave(request)
        if request.state is ExplanationState.RUNNING:
            return ExplanationStatus(ExplanationState.CANCELLED, request.progress, request.id)
        return self.status(request_id, caller)

    def of_file(
        self,
        data: bytes,
        prediction: Prediction,
        *,
        name: str,
        method: Method | None = None,
        progress: Progress = go_on,
    ) -> tuple[Explanation, Image.Image]:
        """Explain a prediction in the caller's thread; also returns the frame that it is of.

        Raises:
            ImageError: The bytes are not an image within the limits.
            ModelError: The model failed.
            MethodUnavailable: The model does not have this method.
        """
        image = self.frame_of(data, prediction, name=name)
        return self._explained(image, prediction, progress, method), image

    def frame_of(self, data: bytes, prediction: Prediction, *, name: str) -> Image.Image:
        """The frame of a file that a prediction is of, at the size at which it is explained.

        It is decoded before explanations that wait: a caller waits for it already.

        Raises:
            ImageError: The bytes are not an image within the limits.
        """
        file = ImageFile.of(data, name, prediction.image_sha256)
        return self._frame(file, prediction, Priority.DECODING)[0]

    def _visible_prediction(
        self, image_sha256: str, identity: ModelIdentity, caller: Caller
    ) -> JudgedImage:
        image = self._store.catalog.find(image_sha256, identity)
        if image is None:
            raise NotFound("There is no such prediction of this image.")
        if self._store.queue.hides_score(image.prediction_id, caller):
            raise ScoreHidden
        return image

    def _kept(self, image: JudgedImage) -> ExplanationStatus | None:
        values = self._store.explanations.find(image.prediction_id, version=VERSION)
        if values is None:
            return None
        return ExplanationStatus(ExplanationState.DONE, 1.0, "", Explanation.from_json(values))

    def _check_model(self, identity: ModelIdentity) -> Classifier:
        """The loaded model, which must be that of a prediction, with any backend.

        Raises:
            OtherModel: It is another one.
            ModelError: None is loaded.
        """
        classifier = self._loader.classifier
        loaded = classifier.identity
        if (loaded.model, loaded.revision) != (identity.model, identity.revision):
            raise OtherModel(
                f"This score is of '{display_name(identity.model)}', revision {identity.revision}; "
                f"'{display_name(loaded.model)}', revision {loaded.revision}, is loaded now. Only "
                "scores of the loaded model can be explained. Upload the image again."
            )
        return classifier

    def _enqueue(self, image: JudgedImage, caller: Caller, pixels: Pixels) -> ExplanationStatus:
        prediction = image.prediction
        subject = (prediction.image_sha256, prediction.identity)
        return self._requests.add(
            ExplanationRequest(caller.owner, subject, image.prediction_id, pixels)
        )

    def _computed(self, request: ExplanationRequest) -> Explanation:
        """Compute and keep a request's explanation."""
        image, prediction = request.decoded()
        explanation = self._explained(image, prediction, request.advance)
        if request.prediction_id:
            try:
                self._store.explanations.add(
                    request.prediction_id, explanation.to_json(), version=VERSION
                )
            except StorageError as error:  # its caller gets it, the next one computes it again
                log.warning("An explanation was not kept: %s", error)
        return explanation

    def _explained(
        self,
        image: Image.Image,
        prediction: Prediction,
        progress: Progress,
        method: Method | None = None,
    ) -> Explanation:
        classifier = self._check_model(prediction.identity)
        frame = prediction.frame
        return explain(image, classifier, method=method, frame=frame, progress=progress)

    def _kept_frame(self, prediction: Prediction) -> tuple[Image.Image, Prediction]:
        """The kept preview: of the frame and on the background of all predictions."""
        try:
            jpeg = self._store.previews.get(prediction.image_sha256)
        except NotFound:
            raise PixelsMissing from None
        with self._decoding(renderings.STORED_PREVIEW):
            return renderings.decoded_preview(jpeg), prediction

    def _frame(
        self, file: ImageFile, prediction: Prediction, priority: Priority = Priority.BACKGROUND
    ) -> tuple[Image.Image, Prediction]:
        with self._decoding(file.name, priority):
            frame = rendered_frame(file.data, prediction, name=file.name, limits=self._limits)
            return renderings.fitted(frame, renderings.PREVIEW_SIDE), prediction

    def _unstored_frame(self, file: ImageFile) -> tuple[Image.Image, Prediction]:
        with decode.memory_for(file.name):
            classifier = self._loader.classifier
            image = pipeline.classify(file, classifier, limits=self._limits).image
        return self._frame(file, image.prediction)

    @contextmanager
    def _decoding(self, name: str, priority: Priority = Priority.BACKGROUND) -> Iterator[None]:
        """Hold a CPU slot, and count an error of memory as the file's."""
        slots = self._loader.classifier.cpu_slots
        with slots.acquire(priority), decode.memory_for(name):
            yield


def heat_map_png(explanation: Explanation, image: Image.Image, *, reveal: bool = False) -> bytes:
    """The map of an explanation as a PNG, over the image or its blurred version.

    A map that is no better than a random one is not drawn; the sentence says so.

    Args:
        explanation: Of this image.
        image: The frame that was explained.
        reveal: Draw over the image itself.
    """
    shown = explanation.informative
    return heat_map.draw(
        image,
        sentence=explanation.sentence,
        values=explanation.values if shown else None,
        marked=explanation.marked if shown else (),
        reveal=reveal,
    )
