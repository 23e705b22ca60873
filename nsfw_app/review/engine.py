"""The only door: what joins images, a classifier, policies and the store.

The page, the API and the commands all come through here. An image that cannot be judged comes
back as a review that says so, never as an exception and never as safe. Bytes that this model has
judged before cost a look-up and no inference.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nsfw_app.concurrency import map_ordered
from nsfw_app.errors import ImageError, ModelError, NotFound, StorageError
from nsfw_app.imaging import decode, previews
from nsfw_app.imaging.decode import Limits
from nsfw_app.models import builds, cards
from nsfw_app.models.artifacts import ModelVersion, OptimizedModel
from nsfw_app.models.equivalence import EquivalentBackends
from nsfw_app.models.loader import ModelLoader, ModelStatus
from nsfw_app.records import (
    Decision,
    Ground,
    LabelRole,
    NewDecision,
    Policy,
    Prediction,
    Preview,
    Problem,
    Review,
    Upload,
    Verdict,
)
from nsfw_app.review.pipeline import Inference, Judged
from nsfw_app.review.queue import QueueService
from nsfw_app.review.submissions import SubmissionService
from nsfw_app.review.verdicts import reviewed
from nsfw_app.rules.permissions import Caller
from nsfw_app.store import Store
from nsfw_app.store.audit import Audit
from nsfw_app.store.log import CorrectionLog

log = logging.getLogger(__name__)


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
        artifacts_dir: Where optimized models lie.
    """

    def __init__(
        self,
        *,
        store: Store,
        loader: ModelLoader,
        limits: Limits,
        defaults: PolicyDefaults,
        artifacts_dir: Path | None = None,
    ) -> None:
        self.limits = limits
        self._artifacts_dir = artifacts_dir
        self._store = store
        self._loader = loader
        self._defaults = defaults
        self.queue = QueueService(store, self.policy_of)
        equivalents = EquivalentBackends(artifacts_dir, self.policy_of)
        self.submissions = SubmissionService(store, self.queue, self.review)
        self._inference = Inference(store, loader, limits=limits, equivalents=equivalents)

    def start(self) -> None:
        """Begin to load the model beside whatever else runs."""
        self._loader.start()

    def wait(self) -> ModelStatus:
        """Where loading stands once it has ended, well or not; loads if nobody has begun."""
        self._loader.start()
        return self._loader.join()

    @property
    def status(self) -> ModelStatus:
        """Where loading the model stands."""
        return self._loader.status

    @property
    def roles(self) -> Mapping[str, LabelRole]:
        """Whether each label of the model that runs is safe or unsafe; none until it does."""
        classifier = self.status.classifier
        return classifier.roles if classifier else {}

    @property
    def waiting(self) -> int:
        """Pictures that wait for the model now."""
        classifier = self.status.classifier
        return classifier.waiting if classifier else 0

    @property
    def optimized_models(self) -> list[OptimizedModel]:
        """The optimized models that were made of the model that runs, the fastest first."""
        classifier = self.status.classifier
        if classifier is None or self._artifacts_dir is None:
            return []
        return builds.find(self._artifacts_dir, ModelVersion.of(classifier.identity))

    @property
    def optimization_attempts(self) -> list[builds.Attempt]:
        """What `optimize` tried last with the model that runs."""
        classifier = self.status.classifier
        if classifier is None or self._artifacts_dir is None:
            return []
        return builds.read_attempts(self._artifacts_dir, ModelVersion.of(classifier.identity))

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

    def save_policy(
        self, policy: Policy, *, author: str, reason: str, replaces: int | None = None
    ) -> Policy:
        """Make a policy the one in force; earlier ones stay on record.

        Args:
            policy: Its numbers.
            author: Who sets it.
            reason: Why.
            replaces: The version that must be in force still; None for whichever is.

        Raises:
            ModelError: No model is loaded that it could belong to.
            PolicyError: Another version is in force.
        """
        model = self._loader.classifier.identity.model
        policy = replace(policy, author=author, reason=reason)
        first = self._first_policy(model)
        return self._store.policies.add(model, policy, first=first, replaces=replaces)

    def review(self, data: bytes, upload: Upload) -> Review:
        """Judge one image by its bytes.

        Args:
            data: The file's bytes, as uploaded.
            upload: Its name and where it came from. With an owner, a picture is kept for them.
        """
        try:
            judged = self._inference.judge(data, upload)
        except (ImageError, ModelError) as error:
            return self.unavailable(upload.name, error, sha256=decode.sha256(data))
        review = self._reviewed(upload.name, judged)
        if upload.owner is not None and upload.queues:
            self.queue.admit(review)
        return review

    def try_out(self, data: bytes, *, name: str) -> Review:
        """Judge one image of which nothing is kept."""
        try:
            judged = self._inference.try_out(data, name=name)
        except (ImageError, ModelError) as error:
            return self.unavailable(name, error, sha256=decode.sha256(data))
        return self._reviewed(name, judged)

    def _reviewed(self, name: str, judged: Judged) -> Review:
        return reviewed(name, self.policy, judged.info, judged.prediction, judged.preview)

    def unavailable(
        self, name: str, error: ImageError | ModelError, *, sha256: str | None = None
    ) -> Review:
        """The review of a file that could not be judged."""
        problem = Problem(error.kind, str(error))
        return Review(name, self.policy, Verdict(), sha256, problem=problem)

    def review_file(self, path: Path, upload: Upload) -> Review:
        """Judge one file; see `review`."""
        try:
            data = decode.read_file(path, self.limits)
        except ImageError as error:
            return self.unavailable(upload.name, error)
        return self.review(data, upload)

    def review_files(self, paths: Iterable[Path], *, source: str) -> Iterator[Review]:
        """Judge files, keeping no pictures. Waits for the model first.

        Some are read ahead while the model looks at others; reviews come in the files' order.

        Raises:
            ModelError: The model cannot be loaded.
        """
        concurrency = self._loader.wait().max_in_flight

        def review(path: Path) -> Review:
            return self.review_file(path, Upload(str(path), source))

        yield from map_ordered(review, paths, concurrency=concurrency)

    def decide(self, answer: NewDecision, caller: Caller) -> Decision:
        """Record an answer; when this returns, it is on disk.

        Raises:
            NotFound: The caller may see no such image, or the model made no such prediction.
            DecisionError: The answer makes no sense.
        """
        return self.decide_all([answer], caller)[0]

    def decide_all(self, answers: Sequence[NewDecision], caller: Caller) -> list[Decision]:
        """Record several answers, all or none; see `decide`."""
        made = self._store.log.add_all(answers, caller)
        try:
            self._store.purges.tidy({decision.image_sha256 for decision in made})
        except StorageError as error:  # the answers are on disk all the same
            log.warning("Pictures are left for the daily purge: %s", error)
        return made

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

    def preview(self, image_sha256: str) -> Preview:
        """What stands for an image."""
        return self._store.catalog.preview(image_sha256)

    def has_preview(self, image_sha256: str) -> bool:
        """Whether a picture of an image is kept."""
        return self._store.previews.has(image_sha256)

    def render_preview(
        self, data: bytes, *, name: str, frame: int, ground: Ground = Ground.WHITE
    ) -> bytes:
        """A picture of an image of which none is kept; see `Inference.picture`."""
        return self._inference.render_preview(data, name=name, frame=frame, ground=ground)

    def check_writable(self) -> None:
        """Write to the data directory, as an upload does.

        Raises:
            StorageError: That failed.
        """
        self._store.check_writable()

    def tidy_up(self, *, actor: str) -> int:
        """Delete every picture that nobody needs any more; how many there were."""
        return self._store.purges.run(actor=actor)

    def preview_jpeg(self, image_sha256: str, caller: Caller) -> bytes:
        """A picture that the caller may see, JPEG.

        Raises:
            NotFound: There is none, or it is not for them.
        """
        if not self._store.catalog.shows(image_sha256, caller):
            raise NotFound("No such image.")
        return self._store.previews.get(image_sha256)

    def thumbnail_jpeg(self, image_sha256: str, caller: Caller) -> bytes:
        """The same at the size of a card."""
        return previews.thumbnail(self.preview_jpeg(image_sha256, caller))

    def _first_policy(self, model: str) -> Policy:
        return cards.first_policy(
            model,
            threshold=self._defaults.threshold,
            band=(self._defaults.review_from, self._defaults.review_to),
        )
