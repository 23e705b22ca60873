"""The only door: what joins images, a classifier, policies and the store.

The page, the API and the commands all come through here. An image that cannot be judged comes
back as a review that says so, never as an exception and never as safe. Bytes that this model has
judged before cost a look-up and no inference.
"""

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from nsfw_app import images, models, previews
from nsfw_app.access import Caller
from nsfw_app.classifiers import Classifier, nsfw_score
from nsfw_app.classifiers.loading import ModelLoader, ModelStatus
from nsfw_app.desk import Desk
from nsfw_app.errors import ImageError, ModelError, NotFound
from nsfw_app.images import DecodedImage, Limits
from nsfw_app.insights import Insights
from nsfw_app.policy import judge
from nsfw_app.records import (
    Answer,
    Decision,
    ImageInfo,
    Policy,
    Prediction,
    Problem,
    Review,
    Upload,
    Verdict,
)
from nsfw_app.store import Store
from nsfw_app.store.audit import Audit
from nsfw_app.store.log import CorrectionLog


@dataclass(frozen=True, slots=True)
class PolicyDefaults:
    """The first policy's numbers from the settings; no threshold means the model's own."""

    threshold: float | None = None
    review_from: float = 0.2
    review_to: float = 0.8


class Engine:
    """Judges images and records answers.

    Args:
        store: Where everything is kept.
        loader: Where the classifier comes from.
        limits: What is accepted as input.
        defaults: The first policy's numbers.
    """

    def __init__(
        self, *, store: Store, loader: ModelLoader, limits: Limits, defaults: PolicyDefaults
    ) -> None:
        self.limits = limits
        self._store = store
        self._loader = loader
        self._defaults = defaults
        self.desk = Desk(store, self.policy_of)
        self.insights = Insights(store, self.policy_of)
        self._inference = threading.Lock()  # a pipeline is not made for two threads at once

    def start(self) -> None:
        """Begin to load the model beside whatever else runs."""
        self._loader.start()

    def wait(self) -> ModelStatus:
        """Where loading stands once it has ended, well or not; loads if nobody has begun."""
        self._loader.start()
        return self._loader.ended()

    @property
    def status(self) -> ModelStatus:
        """Where loading the model stands."""
        return self._loader.status

    @property
    def log(self) -> CorrectionLog:
        """The correction log, to read."""
        return self._store.log

    @property
    def audit(self) -> Audit:
        """Who did what besides answering."""
        return self._store.audit

    @property
    def policy(self) -> Policy:
        """The policy in force for the model that runs."""
        classifier = self.status.classifier
        return self.policy_of(classifier.identity.model if classifier else self.status.wanted)

    def policy_of(self, model: str) -> Policy:
        """The policy in force for a model."""
        return self._store.policies.latest(model) or self._first_policy(model)

    def save_policy(self, policy: Policy, *, author: str, reason: str) -> Policy:
        """Make a policy the one in force; earlier ones stay on record.

        Raises:
            ModelError: No model is loaded that it could belong to.
        """
        model = self._loader.classifier.identity.model
        policy = replace(policy, author=author, reason=reason)
        return self._store.policies.add(model, policy, first=self._first_policy(model))

    def review(self, data: bytes, upload: Upload) -> Review:
        """Judge one image by its bytes.

        Args:
            data: The file's bytes, as uploaded.
            upload: Its name and where it came from. With an owner, a picture is kept for them.
        """
        sha256 = images.sha256(data)
        try:
            info, prediction = self._judged(data, sha256, upload)
        except (ImageError, ModelError) as error:
            return self.unavailable(upload.name, error, sha256=sha256)
        policy = self.policy
        verdict = judge(prediction.nsfw_score, policy)
        return Review(upload.name, policy, verdict, sha256, info, prediction)

    def unavailable(
        self, name: str, error: ImageError | ModelError, *, sha256: str | None = None
    ) -> Review:
        """The review of a file that could not be judged."""
        problem = Problem(error.kind, str(error))
        return Review(name, self.policy, Verdict(), sha256, problem=problem)

    def review_file(self, path: Path, upload: Upload) -> Review:
        """Judge one file; see `review`."""
        try:
            data = images.read_file(path, self.limits)
        except ImageError as error:
            return self.unavailable(upload.name, error)
        return self.review(data, upload)

    def review_files(self, paths: Iterable[Path], *, source: str) -> Iterator[Review]:
        """Judge files one after the other, keeping no pictures. Waits for the model first.

        Raises:
            ModelError: The model cannot be loaded.
        """
        self._loader.wait()
        for path in paths:
            yield self.review_file(path, Upload(str(path), source))

    def decide(self, answer: Answer, caller: Caller) -> Decision:
        """Record an answer; when this returns, it is on disk.

        Raises:
            NotFound: The caller may see no such image, or the model made no such prediction.
            DecisionError: The answer makes no sense.
        """
        return self._store.log.add(answer, caller)

    def decide_all(self, answers: Sequence[Answer], caller: Caller) -> list[Decision]:
        """Record several answers, all or none; see `decide`."""
        return self._store.log.add_all(answers, caller)

    def undo_batch(self, batch_id: str, *, reviewer: str, nonce: str) -> list[Decision]:
        """Take back every answer that was given under one batch id.

        Raises:
            NotFound: The reviewer has no such batch, or none of it stands.
        """
        return self._store.log.undo_batch(batch_id, reviewer=reviewer, nonce=nonce)

    def undo(self, decision_id: int, *, reviewer: str, nonce: str) -> Decision | None:
        """Take an answer back; it stays in the log as undone.

        Returns:
            The reviewer's earlier answer that stands again, if there is one.

        Raises:
            NotFound: The reviewer made no such decision.
        """
        undone = self._store.log.undo(decision_id, reviewer=reviewer, nonce=nonce)
        return self._store.log.standing(
            undone.image_sha256,
            model=undone.model,
            revision=undone.revision,
            backend=undone.backend,
            reviewer=reviewer,
        )

    def standing(self, prediction: Prediction, reviewer: str) -> Decision | None:
        """The reviewer's answer about a prediction that stands, if any."""
        return self._store.log.standing(
            prediction.image_sha256,
            model=prediction.identity.model,
            revision=prediction.identity.revision,
            backend=prediction.identity.backend,
            reviewer=reviewer,
        )

    def placeholder(self, image_sha256: str) -> bytes:
        """The 24-pixel WebP that stands for an image."""
        return self._store.catalog.placeholder(image_sha256)

    def perceptual_hash(self, image_sha256: str) -> str | None:
        """64 bits as 16 hexadecimal digits in which alike pictures differ little, if known."""
        return self._store.catalog.perceptual_hash(image_sha256)

    def picture(self, image_sha256: str, caller: Caller) -> bytes:
        """A picture that the caller may see, JPEG.

        Raises:
            NotFound: There is none, or it is not for them.
        """
        if not self._store.catalog.shows(image_sha256, caller):
            raise NotFound("No such image.")
        return self._store.catalog.picture(image_sha256)

    def thumbnail(self, image_sha256: str, caller: Caller) -> bytes:
        """The same at the size of a card."""
        return previews.thumbnail(self.picture(image_sha256, caller))

    def _first_policy(self, model: str) -> Policy:
        return models.first_policy(
            model,
            threshold=self._defaults.threshold,
            band=(self._defaults.review_from, self._defaults.review_to),
        )

    def _judged(self, data: bytes, sha256: str, upload: Upload) -> tuple[ImageInfo, Prediction]:
        classifier = self._loader.classifier
        catalog = self._store.catalog
        stored = catalog.find(sha256, classifier.identity)
        wants_picture = upload.owner is not None and not catalog.has_picture(sha256)
        if stored and not wants_picture:
            images.check_extension(Path(upload.name).name, stored.info.format)
            info, prediction = stored.info, stored.prediction
        else:
            decoded = images.decode(data, name=Path(upload.name).name, limits=self.limits)
            info, prediction = decoded.info, self._predicted(classifier, decoded)
            if wants_picture:
                catalog.add_picture(sha256, previews.picture(_frame_of(prediction, decoded)))
        if upload.owner is not None:
            catalog.add_upload(sha256, upload)
            if known := catalog.find(sha256, classifier.identity):
                self.desk.admit(known)
        return info, prediction

    def _predicted(self, classifier: Classifier, decoded: DecodedImage) -> Prediction:
        """The stored prediction, or a new one: that of the frame with the highest nsfw score.

        The lock spans look-up and storing, so that the same bytes arriving twice cost one run.
        """
        with self._inference:
            stored = self._store.catalog.find(decoded.info.sha256, classifier.identity)
            if stored:
                return stored.prediction
            answers = classifier.predict([frame.image for frame in decoded.frames])
            scores = [nsfw_score(answer, classifier.roles) for answer in answers]
            worst = max(range(len(scores)), key=scores.__getitem__)
            prediction = Prediction(
                decoded.info.sha256,
                classifier.identity,
                answers[worst],
                scores[worst],
                decoded.frames[worst].number,
            )
            image = decoded.frames[worst].image
            self._store.catalog.add_prediction(
                decoded.info,
                prediction,
                placeholder=previews.placeholder(image),
                perceptual_hash=previews.perceptual_hash(image),
            )
            return prediction


def _frame_of(prediction: Prediction, decoded: DecodedImage) -> Image.Image:
    """The frame that was judged, or the nearest when other frames are looked at by now."""
    return min(decoded.frames, key=lambda frame: abs(frame.number - prediction.frame)).image
