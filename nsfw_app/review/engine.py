"""The engine: the facade over review that page, API and commands use.

- Images are classified, decisions recorded and previews read through it only. Accounts, statistics
  (`evidence`), webhooks and all commands but `classify` use parts of the store directly.
- An image that cannot be classified comes back as a review with a problem: never as an exception,
  and never as safe.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from nsfw_app.concurrency import map_ordered
from nsfw_app.decision import Decision, NewDecision
from nsfw_app.errors import ImageError, ModelError, NSFWReviewError
from nsfw_app.imaging import decode
from nsfw_app.imaging.decode import Limits
from nsfw_app.models import build_files
from nsfw_app.models.artifacts import ModelVersion, OptimizedModel
from nsfw_app.models.equivalence import EquivalentBackends
from nsfw_app.models.loader import ModelLoader, ModelStatus
from nsfw_app.models.scheduler import BatchObserver
from nsfw_app.records import (
    Background,
    Category,
    JudgedImage,
    LabelRole,
    LogFilter,
    ModelIdentity,
    Policy,
    Prediction,
    Preview,
    Review,
    Upload,
)
from nsfw_app.review.detail import DetailModel
from nsfw_app.review.explanations import ExplanationService
from nsfw_app.review.galleries import GalleryService
from nsfw_app.review.policies import PolicyBook, reviewed
from nsfw_app.review.predictions import Predictions
from nsfw_app.review.previews import Previews
from nsfw_app.review.queue import QueueService
from nsfw_app.review.submissions import SubmissionService
from nsfw_app.review.unstored import unavailable
from nsfw_app.rules.permissions import Caller
from nsfw_app.store import Store
from nsfw_app.store.audit import Audit
from nsfw_app.store.log import CorrectionLog
from nsfw_app.store.policies import PolicyVersion
from nsfw_app.store.policy_effects import PolicyEffect
from nsfw_app.store.team import Team
from nsfw_app.store.usage import StorageUsage

log = logging.getLogger(__name__)


class Engine:
    """Classifies images and records decisions.

    `queue`, `submissions`, `galleries`, `explanations`, `log`, `team` and `audit` are its parts for
    those nouns; `detail` is the detail model, None where there is none.

    Args:
        store: Images, predictions, decisions and the queue.
        loader: Source of the model.
        policies: The policy in force for each model.
        limits: Largest input accepted.
        artifacts_dir: Directory of optimized models; None where there are none.
        detail: The detail model, which is asked about images after the first one.
    """

    def __init__(
        self,
        *,
        store: Store,
        loader: ModelLoader,
        policies: PolicyBook,
        limits: Limits,
        artifacts_dir: Path | None = None,
        detail: DetailModel | None = None,
    ) -> None:
        self.limits = limits
        self.policies = policies
        self.detail = detail
        self.queue = QueueService(store, policies)
        self.submissions = SubmissionService(store, self.queue)
        self._store = store
        self._loader = loader
        self._artifacts_dir = artifacts_dir
        self._previews = Previews(
            store.visibility,
            store.previews,
            views=store.views,
            restrictions=store.restrictions,
            limits=limits,
            loader=loader,
        )
        self.galleries = GalleryService(store, self.queue, previews=self._previews, loader=loader)
        self.explanations = ExplanationService(
            store, loader, previews=self._previews, limits=limits
        )
        self._predictions = Predictions(
            store,
            loader,
            previews=self._previews,
            limits=limits,
            equivalents=EquivalentBackends(artifacts_dir),
            detail=detail,
        )

    def reading(self) -> AbstractContextManager[object]:
        """A transaction for all that this thread reads of the store."""
        return self._store.reading()

    def start(self) -> None:
        """Start to load the models in background threads."""
        self._loader.start()
        if self.detail is not None:
            self.detail.loader.start()

    def wait(self) -> ModelStatus:
        """Wait until loading the first model has succeeded or failed; starts both where needed."""
        self.start()
        return self._loader.join()

    @property
    def status(self) -> ModelStatus:
        """State of loading the model."""
        return self._loader.status

    @property
    def roles(self) -> Mapping[str, LabelRole]:
        """Role of each label of the loaded model; empty until it is loaded."""
        classifier = self.status.classifier
        return classifier.roles if classifier else {}

    @property
    def waiting(self) -> int:
        """Number of images that wait for the model now."""
        classifier = self.status.classifier
        return classifier.waiting if classifier else 0

    def observe_batches(self, observer: BatchObserver) -> None:
        """Have the images and seconds of each batch of the model reported."""
        self._loader.observe_batches(observer)

    @property
    def optimized_models(self) -> list[OptimizedModel]:
        """Optimized models of the loaded model, the fastest first."""
        classifier = self.status.classifier
        if classifier is None or self._artifacts_dir is None:
            return []
        return build_files.find(self._artifacts_dir, ModelVersion.of(classifier.identity))

    @property
    def optimization_attempts(self) -> list[build_files.Attempt]:
        """Attempts of the latest `optimize` of the loaded model."""
        classifier = self.status.classifier
        if classifier is None or self._artifacts_dir is None:
            return []
        return build_files.read_attempts(self._artifacts_dir, ModelVersion.of(classifier.identity))

    @property
    def log(self) -> CorrectionLog:
        """The correction log, for reading."""
        return self._store.log

    def model_categories(self, decisions: Sequence[Decision]) -> list[dict[Category, float] | None]:
        """What the models judge by category of decisions' images; None where they judge none."""
        return self._store.judged_categories.of_decisions(decisions)

    @property
    def team(self) -> Team:
        """What administrators set for the team."""
        return self._store.team

    @property
    def audit(self) -> Audit:
        """The audit log: administrative actions, exports and purges."""
        return self._store.audit

    @property
    def usage(self) -> StorageUsage:
        """What the data directory holds, and the free space of its disk."""
        return self._store.usage

    @property
    def policy(self) -> Policy:
        """The policy in force for the loaded model, or for the configured one until it is."""
        classifier = self.status.classifier
        return self.policies.of(classifier.identity.model if classifier else self.status.wanted)

    def save_policy(
        self,
        policy: Policy,
        *,
        author: str,
        reason: str,
        replaces: int | None = None,
        reverts_to: int | None = None,
    ) -> Policy:
        """Put a policy in force for the loaded model; see `PolicyBook.save`.

        Raises:
            ModelError: No model is loaded.
            PolicyError: There is no reason, or another version is in force.
        """
        return self.policies.save(
            self._loader.classifier.identity.model,
            policy,
            author=author,
            reason=reason,
            replaces=replaces,
            reverts_to=reverts_to,
        )

    @property
    def policy_versions(self) -> list[PolicyVersion]:
        """Every version of that policy, the latest first; the first policy, where none is saved."""
        classifier = self.status.classifier
        model = classifier.identity.model if classifier else self.status.wanted
        return self.policies.versions(model)

    def policy_effect(self, policy: Policy) -> PolicyEffect:
        """What changes when a policy replaces the one in force; see `PolicyEffects.effect`.

        Raises:
            ModelError: No model is loaded.
        """
        identity = self._loader.classifier.identity
        new = self.policies.stamped(policy)
        return self._store.policy_effects.effect(identity, old=self.policy, new=new)

    def withdraw_outside_band(self, policy: Policy, *, actor: str) -> int:
        """Withdraw waiting images; see `PolicyEffects.withdraw_outside_band`.

        Raises:
            ModelError: No model is loaded.
        """
        model = self._loader.classifier.identity.model
        return self._store.policy_effects.withdraw_outside_band(model, policy, actor=actor)

    def review(self, data: bytes, upload: Upload) -> Review:
        """Classify one image and store what `upload.retain` says.

        Args:
            data: The file's bytes, as uploaded.
            upload: Its name, where it came from, and what is kept of it.
        """
        policy = self.policy
        try:
            image = self._predictions.classify(data, upload, policy)
        except (ImageError, ModelError) as error:
            return unavailable(upload.name, policy, error, sha256=decode.sha256(data))
        return reviewed(upload.name, policy, image)

    def unavailable(self, name: str, error: NSFWReviewError) -> Review:
        """The review of a file that could not be read, or that the caller may not see."""
        return unavailable(name, self.policy, error)

    def review_file(self, path: Path, upload: Upload) -> Review:
        """Classify one file; see `review`."""
        try:
            data = decode.read_file(path, self.limits)
        except ImageError as error:
            return self.unavailable(upload.name, error)
        return self.review(data, upload)

    def review_files(self, paths: Iterable[Path], *, source: str) -> Iterator[Review]:
        """Classify files and keep their scores only. Waits for both models first.

        Some files are read ahead during inference; reviews come in the order of the files.

        Raises:
            ModelError: The model cannot be loaded.
        """
        self.start()
        concurrency = self._loader.wait().max_in_flight
        if self.detail is not None:
            self.detail.wait()

        def review(path: Path) -> Review:
            return self.review_file(path, Upload(str(path), source))

        yield from map_ordered(review, paths, concurrency=concurrency)

    def decide(self, decision: NewDecision, caller: Caller) -> Decision:
        """Record a decision; it is on disk when this returns.

        Raises:
            NotFound: The caller may see no such image, or the model made no such prediction.
            DecisionError: The decision contradicts an earlier one with the same nonce.
            DecisionRefused: The rules of the installation refuse it.
        """
        return self.decide_all([decision], caller)[0]

    def decide_all(self, decisions: Sequence[NewDecision], caller: Caller) -> list[Decision]:
        """Record several decisions, all or none; see `decide`.

        Previews are left for `sweep_previews`: a reviewer may undo.
        """
        recorded = self._store.log.add_all(decisions, caller)
        _log_decisions("Decision %d is saved.", recorded)
        return recorded

    def recent(self, caller: Caller, *, limit: int) -> list[tuple[Decision, Review]]:
        """The caller's latest decisions that stand, newest first, with the images' reviews."""
        wanted = LogFilter(reviewer=caller.name, undone=False)
        found = []
        for decision in self._store.log.page(wanted, limit=limit):
            identity = ModelIdentity(decision.model, decision.revision, "", decision.backend)
            image = self._store.catalog.find(decision.image_sha256, identity)
            if image is not None:
                policy = self.policies.of(decision.model)
                found.append((decision, reviewed(decision.name, policy, image)))
        return found

    def undo_batch(self, batch_id: str, *, reviewer: str, nonce: str) -> list[Decision]:
        """Undo every decision that a reviewer recorded under one batch id.

        Raises:
            NotFound: The reviewer has no such batch, or all of it is undone.
        """
        undone = self._store.log.undo_batch(batch_id, reviewer=reviewer, nonce=nonce)
        _log_decisions("Decision %d is undone.", undone)
        return undone

    def undo(self, decision_id: int, *, reviewer: str, nonce: str) -> Decision | None:
        """Undo a decision; it stays in the log as undone.

        Returns:
            The reviewer's earlier decision that stands again, if there is one.

        Raises:
            NotFound: The reviewer made no such decision.
        """
        undone = self._store.log.undo(decision_id, reviewer=reviewer, nonce=nonce)
        _log_decisions("Decision %d is undone.", [undone])
        return self._store.log.standing(
            undone.image_sha256,
            model=undone.model,
            revision=undone.revision,
            backend=undone.backend,
            reviewer=reviewer,
        )

    def standing(self, prediction: Prediction, reviewer: str) -> Decision | None:
        """The reviewer's standing decision about a prediction, if any."""
        return self._store.log.standing(
            prediction.image_sha256,
            model=prediction.identity.model,
            revision=prediction.identity.revision,
            backend=prediction.identity.backend,
            reviewer=reviewer,
        )

    def stored(self, prediction_id: int) -> tuple[JudgedImage, str]:
        """The image of a prediction, and its name; see `Catalog.name`.

        Raises:
            NotFound: There is no such prediction.
        """
        image = self._store.catalog.get(prediction_id)
        return image, self._store.catalog.name(image.info.sha256)

    def preview(self, image_sha256: str) -> Preview:
        """Placeholder and perceptual hash of an image.

        Raises:
            NotFound: The image is not known.
        """
        return self._store.catalog.preview(image_sha256)

    def shows(self, image_sha256: str, caller: Caller) -> bool:
        """Whether a caller may see an image; see `Visibility.is_visible`."""
        return self._store.visibility.is_visible(image_sha256, caller)

    def has_preview(self, image_sha256: str) -> bool:
        """Whether a preview file of an image is kept."""
        return self._store.previews.has(image_sha256)

    def was_sent(self, image_sha256: str, caller: Caller) -> bool:
        """Whether a caller was sent a preview of an image."""
        return self._previews.was_sent(image_sha256, caller)

    def preview_jpeg(self, image_sha256: str, caller: Caller) -> bytes:
        """A kept preview, JPEG; see `Previews.jpeg`."""
        return self._previews.jpeg(image_sha256, caller)

    def thumbnail_jpeg(self, image_sha256: str, caller: Caller) -> bytes:
        """A kept preview at the size of a card; see `Previews.thumbnail`."""
        return self._previews.thumbnail(image_sha256, caller)

    def render_preview(
        self,
        data: bytes,
        *,
        name: str,
        frame: int,
        caller: Caller,
        background: Background = Background.WHITE,
    ) -> bytes:
        """The preview of an image of which none is kept; see `Previews.render`."""
        return self._previews.render(
            data, name=name, frame=frame, background=background, caller=caller
        )

    def record_view(self, image_sha256: str, caller: Caller) -> None:
        """Record that a reviewer is being sent a preview; see `Previews.record_view`."""
        self._previews.record_view(image_sha256, caller)

    def hides(self, image_sha256: str, caller: Caller) -> bool:
        """Whether an image is restricted to administrators, and the caller is none."""
        return self._previews.hides(image_sha256, caller)

    def is_restricted(self, image_sha256: str) -> bool:
        """Whether an image is shown to administrators only."""
        return self._store.restrictions.holds(image_sha256)

    def lift_restriction(self, image_sha256: str, *, actor: str) -> None:
        """Show a restricted image again as any other.

        Raises:
            NotFound: It is not restricted.
        """
        self._store.restrictions.lift(image_sha256, actor=actor)

    def check_writable(self) -> None:
        """Write to the data directory as an upload does.

        Raises:
            StorageError: Writing failed.
        """
        self._store.check_writable()

    def checkpoint(self) -> None:
        """Move the write-ahead log into the database; see `Store.checkpoint`."""
        self._store.checkpoint()

    def sweep_previews(self) -> int:
        """Delete the previews of decided images after the grace period; how many there were."""
        return self._store.purges.sweep()

    def tidy_up(self, *, actor: str) -> int:
        """Delete every preview that retention does not keep; how many there were."""
        return self._store.purges.run(actor=actor)


def _log_decisions(message: str, decisions: Iterable[Decision]) -> None:
    """Log each decision by its id; the id of the request is in the same record."""
    for decision in decisions:
        log.info(message, decision.decision_id, extra={"decision_id": decision.decision_id})
