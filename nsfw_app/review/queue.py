"""The review queue as reviewers use it: claims, second opinions, training labels."""

from collections.abc import Sequence
from dataclasses import dataclass

from nsfw_app.errors import NotFound
from nsfw_app.imaging.previews import are_near_duplicates
from nsfw_app.records import ModelIdentity, Prediction, Review
from nsfw_app.review.left_out import training_sentence
from nsfw_app.review.policies import PolicyBook, reviewed
from nsfw_app.rules.permissions import Caller
from nsfw_app.rules.queue import EntryReason, QueueOrder
from nsfw_app.store import Store
from nsfw_app.store.leases import Holding, Lease, QueueSummary
from nsfw_app.store.training import Misclassification

CLAIMS_AT_ONCE = 10
MAX_MISCLASSIFICATIONS = 500


@dataclass(frozen=True, slots=True)
class QueueItem:
    """A claimed image, without others' decisions.

    - `reason` is why it waits.
    - `blind` is whether score and verdict are hidden from the reviewer until the decision.
    """

    entry_id: int
    review: Review
    reason: EntryReason
    blind: bool


class QueueService:
    """Queue and training labels over a store.

    Args:
        store: Entries, leases and training labels.
        policies: The policy in force for each model.
    """

    def __init__(self, store: Store, policies: PolicyBook) -> None:
        self._store = store
        self._policies = policies
        self.training = store.training

    def claim(
        self,
        reviewer: str,
        *,
        model: str,
        count: int,
        holding: Sequence[int],
        order: QueueOrder,
        reason: EntryReason | None = None,
        first: int | None = None,
    ) -> list[QueueItem]:
        """Claim the next entries for a reviewer; see `Leases.claim`.

        Args:
            reviewer: Name of the reviewer.
            model: The loaded model; entries near its threshold come first.
            count: How many, at most `CLAIMS_AT_ONCE`.
            holding: Entries that the reviewer has leased already.
            order: By priority or the oldest first.
            reason: Only entries that wait for this reason; None for all.
            first: Entry that comes before all others, if it is available.
        """

        def lease() -> list[Lease]:
            return self._store.leases.claim(
                reviewer,
                count=min(count, CLAIMS_AT_ONCE),
                holding=holding,
                threshold=self._policies.of(model).threshold,
                order=order,
                reason=reason,
                first=first,
            )

        claims = lease()
        # Files may be lost from the disk: an image without a preview is not handed out.
        while self._store.queue.withdraw_unreviewable([claim.prediction_id for claim in claims]):
            claims = lease()
        with self._store.reading():
            return [
                QueueItem(
                    claim.entry_id,
                    self.review_of(claim.prediction_id),
                    claim.reason,
                    not self.blind_reasons.isdisjoint({claim.reason, claim.entered_for}),
                )
                for claim in claims
            ]

    @property
    def blind_reasons(self) -> frozenset[EntryReason]:
        """Reasons for which score and verdict are hidden until the decision."""
        return self._store.queue.rules.blind

    def renew(self, entry_ids: Sequence[int], reviewer: str) -> list[int]:
        """Extend leases; the entries that the reviewer still holds."""
        return self._store.leases.renew(entry_ids, reviewer)

    def release(self, entry_ids: Sequence[int], reviewer: str) -> None:
        """Return leases."""
        self._store.leases.release(entry_ids, reviewer)

    def skip(self, entry_id: int, reviewer: str) -> None:
        """Return a lease; the entry comes last for this reviewer."""
        self._store.leases.skip(entry_id, reviewer)

    def unskip(self, entry_id: int, reviewer: str) -> None:
        """Undo a skip; the entry is leased to the reviewer again. See `Leases.unskip`."""
        self._store.leases.unskip(entry_id, reviewer)

    def held(self) -> list[Holding]:
        """Every lease in force."""
        return self._store.leases.held()

    def image_name(self, image_sha256: str) -> str:
        """An image's name for reviewers; see `Catalog.name`."""
        return self._store.catalog.name(image_sha256)

    def revoke(self, entry_id: int, *, actor: str) -> None:
        """End the lease of any reviewer; see `Leases.revoke`."""
        self._store.leases.revoke(entry_id, actor=actor)

    def waiting(self, reviewer: str) -> int:
        """Number of entries that this reviewer could claim."""
        return self._store.leases.waiting(reviewer)

    def summary(self, reviewer: str) -> QueueSummary:
        """The open entries as a reviewer sees them."""
        return self._store.leases.summary(reviewer)

    def open_entries(self) -> int:
        """Number of open entries."""
        return self._store.queue.size()

    def oldest_entries(self) -> dict[EntryReason, str]:
        """When the oldest open entry of each reason entered the queue."""
        return self._store.queue.oldest()

    def request_second_opinion(
        self, image_sha256: str, identity: ModelIdentity, caller: Caller
    ) -> bool:
        """Escalate an image for a second opinion.

        Returns:
            Whether second opinions are in use.

        Raises:
            NotFound: The caller may see no such image, or that model made no prediction of it.
        """
        prediction_id = self._prediction(image_sha256, identity, caller)
        return self._store.queue.escalate(prediction_id, caller.name)

    def is_escalated(self, prediction: Prediction, reviewer: str) -> bool:
        """Whether the reviewer's request for a second opinion waits."""
        return self._store.queue.is_escalated(prediction, reviewer)

    def withdraw_second_opinion(
        self, image_sha256: str, identity: ModelIdentity, caller: Caller
    ) -> int | None:
        """Undo the caller's escalation; see `ReviewQueue.withdraw_escalation`."""
        prediction_id = self._prediction(image_sha256, identity, caller)
        return self._store.queue.withdraw_escalation(prediction_id, caller.name)

    def _prediction(self, image_sha256: str, identity: ModelIdentity, caller: Caller) -> int:
        stored = self._store.catalog.find(image_sha256, identity)
        if stored is None or not self._store.visibility.is_visible(image_sha256, caller):
            raise NotFound(f"No prediction of {image_sha256} by {identity.model} is known.")
        return stored.prediction_id

    def misclassifications(self) -> list[Misclassification]:
        """Settled misclassifications: unconfirmed ones first, then by confidence of the model."""
        return self.training.misclassifications(limit=MAX_MISCLASSIFICATIONS)

    def count_misclassifications(self, listed: int) -> int:
        """Number of settled misclassifications, with those that a list of this many leaves out."""
        return listed if listed < MAX_MISCLASSIFICATIONS else self.training.size()

    def training_left_out(self) -> str:
        """How many misclassifications the export of training labels leaves out, and why."""
        return training_sentence(self.training.without_label())

    def misclassification_groups(self) -> list[list[Misclassification]]:
        """Misclassifications in groups of near-duplicates."""
        groups: list[list[Misclassification]] = []
        for misclassification in self.misclassifications():
            for group in groups:
                if are_near_duplicates(group[0].perceptual_hash, misclassification.perceptual_hash):
                    group.append(misclassification)
                    break
            else:
                groups.append([misclassification])
        return groups

    def review_of(self, prediction_id: int, *, name: str | None = None) -> Review:
        """The review of a stored prediction under the policy in force.

        Args:
            prediction_id: Row of the prediction in the store.
            name: Name of the image; None takes the one that the store has for reviewers.
        """
        stored = self._store.catalog.get(prediction_id)
        policy = self._policies.of(stored.prediction.identity.model)
        if name is None:
            name = self._store.catalog.name(stored.info.sha256)
        return reviewed(name, policy, stored)
