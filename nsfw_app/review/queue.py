"""What moderators work through: the queue's loans, second opinions, and training labels."""

from collections.abc import Sequence
from dataclasses import dataclass

from nsfw_app.errors import NotFound
from nsfw_app.imaging.previews import alike
from nsfw_app.records import Label, ModelIdentity, Review
from nsfw_app.review.policies import PolicyBook, reviewed
from nsfw_app.rules.permissions import Caller
from nsfw_app.rules.queue import QueueOrder
from nsfw_app.store import Store
from nsfw_app.store.training import Misclassification

CLAIMS_AT_ONCE = 10
MAX_MISCLASSIFICATIONS = 500


@dataclass(frozen=True, slots=True)
class QueueItem:
    """An image on loan. Neither others' answers nor the reason it waits are part of it."""

    entry_id: int
    review: Review


class QueueService:
    """The queue and the training labels over a store.

    Args:
        store: Where both are kept.
        policies: The policy in force for each model.
    """

    def __init__(self, store: Store, policies: PolicyBook) -> None:
        self._store = store
        self._policies = policies

    def claim(
        self,
        reviewer: str,
        *,
        model: str,
        count: int,
        holding: Sequence[int],
        order: QueueOrder,
        first: int | None = None,
    ) -> list[QueueItem]:
        """Lend the next images to a reviewer; see `ReviewQueue.claim`.

        Args:
            reviewer: Who.
            model: The model that runs, whose threshold says what is near.
            count: How many, at most `CLAIMS_AT_ONCE`.
            holding: Entries at hand already.
            order: By priority or the oldest first.
            first: An entry that comes before all others, when it can be had.
        """
        claims = self._store.leases.claim(
            reviewer,
            count=min(count, CLAIMS_AT_ONCE),
            holding=holding,
            threshold=self._policies.of(model).threshold,
            order=order,
            first=first,
        )
        return [QueueItem(claim.entry_id, self.review_of(claim.prediction_id)) for claim in claims]

    def renew(self, entry_ids: Sequence[int], reviewer: str) -> list[int]:
        """Keep images for another while; the entries that are still this reviewer's."""
        return self._store.leases.renew(entry_ids, reviewer)

    def release(self, entry_ids: Sequence[int], reviewer: str) -> None:
        """Give images back."""
        self._store.leases.release(entry_ids, reviewer)

    def skip(self, entry_id: int, reviewer: str) -> None:
        """Give an image back, to see it again after all others."""
        self._store.leases.skip(entry_id, reviewer)

    def waiting(self, reviewer: str) -> int:
        """How many images wait that this reviewer could answer."""
        return self._store.leases.waiting(reviewer)

    def open_entries(self) -> int:
        """How many images wait for anyone."""
        return self._store.queue.size()

    def request_second_opinion(
        self, image_sha256: str, identity: ModelIdentity, caller: Caller
    ) -> bool:
        """Send an image for a second opinion.

        Returns:
            Whether second opinions are in use.

        Raises:
            NotFound: The caller may see no such image, or that model made no prediction of it.
        """
        stored = self._store.catalog.find(image_sha256, identity)
        if stored is None or not self._store.catalog.shows(image_sha256, caller):
            raise NotFound(f"No prediction of {image_sha256} by {identity.model} is known.")
        return self._store.queue.escalate(stored.prediction_id, caller.name)

    def misclassifications(self) -> list[Misclassification]:
        """The model's settled errors, those nobody looked at and the most confident first."""
        return self._store.training.misclassifications(limit=MAX_MISCLASSIFICATIONS)

    def training_labels(self) -> list[Misclassification]:
        """Every error that was confirmed as a training label."""
        return self._store.training.confirmed()

    def misclassification_groups(self) -> list[list[Misclassification]]:
        """The same, each followed by those whose pictures look alike."""
        groups: list[list[Misclassification]] = []
        for misclassification in self.misclassifications():
            for group in groups:
                if alike(group[0].perceptual_hash, misclassification.perceptual_hash):
                    group.append(misclassification)
                    break
            else:
                groups.append([misclassification])
        return groups

    def label_for_training(self, prediction_id: int, label: Label | None, reviewer: str) -> None:
        """Confirm a training label, or set the image aside with None.

        Raises:
            NotFound: It is no settled disagreement.
        """
        self._store.training.decide(prediction_id, label, reviewer=reviewer)

    def review_of(self, prediction_id: int, *, name: str | None = None) -> Review:
        """A prediction as the policy in force judges it.

        Args:
            prediction_id: Of the prediction.
            name: What the image is called; by default as in its latest upload.
        """
        stored = self._store.catalog.get(prediction_id)
        policy = self._policies.of(stored.prediction.identity.model)
        if name is None:
            name = self._store.catalog.name(stored.info.sha256)
        return reviewed(name, policy, stored)
