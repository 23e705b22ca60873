"""Submissions: images that programs put into the queue, and their current state."""

from nsfw_app.errors import NotFound
from nsfw_app.records import Review
from nsfw_app.review.queue import QueueService
from nsfw_app.rules.permissions import Caller, Permission
from nsfw_app.store import Store
from nsfw_app.store.deliveries import DeliveryBacklog, DeliveryRecord
from nsfw_app.store.submissions import Submission


class SubmissionService:
    """Reads submissions; `Retain.SUBMISSION` makes them.

    Args:
        store: Submissions and webhook messages.
        queue: Reviews stored predictions.
    """

    def __init__(self, store: Store, queue: QueueService) -> None:
        self._submissions = store.submissions
        self._deliveries = store.deliveries
        self._queue = queue

    def find(self, submission_id: str, caller: Caller) -> tuple[Submission, Review]:
        """A submission's state, and the review of its image under the policy in force.

        Raises:
            NotFound: There is none, or it belongs to another caller.
        """
        submission = self._submissions.get(submission_id)
        if submission.owner != caller.owner and not caller.may(Permission.MANAGE):
            raise NotFound(f"No image {submission_id} was submitted.")
        return submission, self._queue.review_of(submission.prediction_id, name=submission.name)

    def messages(self, submission: Submission) -> list[DeliveryRecord]:
        """Webhook messages about a submission, with their delivery status."""
        return self._deliveries.of(submission.submission_id)

    def backlog(self) -> DeliveryBacklog:
        """Webhook messages of all submissions that are not delivered."""
        return self._deliveries.backlog()
