"""Images that programs submit: judged at once, and put before people where that is needed."""

from collections.abc import Callable

from nsfw_app.errors import NotFound
from nsfw_app.records import Review, Upload
from nsfw_app.review.queue import QueueService
from nsfw_app.rules.permissions import Caller, Permission
from nsfw_app.store import Store
from nsfw_app.store.deliveries import DeliveryRecord
from nsfw_app.store.submissions import Submission


class SubmissionService:
    """Submissions over a store.

    Args:
        store: Where they are kept.
        queue: Who lets images into the queue.
        review: Judges an image by its bytes, and admits what has an owner to the queue.
    """

    def __init__(
        self, store: Store, queue: QueueService, review: Callable[[bytes, Upload], Review]
    ) -> None:
        self._store = store
        self._queue = queue
        self._review = review

    def submit(self, data: bytes, *, name: str, caller: Caller) -> tuple[Review, str | None]:
        """Judge one image, and put it into the queue when a person should look at it.

        Args:
            data: The file's bytes.
            name: What it is called.
            caller: Who submits it, and is told what became of it.

        Returns:
            The review, and the id to ask for it by; None when it is not for the queue.
        """
        review = self._review(data, Upload(name, "api"))
        prediction = review.prediction
        if prediction is None or caller.owner is None or self._queue.queue_reason(review) is None:
            return review, None
        review = self._review(data, Upload(name, "api", caller.owner))  # now with its picture
        stored = self._store.catalog.find(prediction.image_sha256, prediction.identity)
        if stored is None:
            return review, None
        submission_id = self._store.submissions.add(
            stored.prediction_id, owner=caller.owner, name=name, key_name=caller.key_name
        )
        return review, submission_id

    def find(self, submission_id: str, caller: Caller) -> tuple[Submission, Review]:
        """What became of an image that was submitted, and how it is judged now.

        Raises:
            NotFound: There is none, or it is somebody else's.
        """
        submission = self._store.submissions.get(submission_id)
        if submission.owner != caller.owner and not caller.may(Permission.MANAGE):
            raise NotFound(f"No image {submission_id} was submitted.")
        return submission, self._queue.review_of(submission.prediction_id, name=submission.name)

    def messages(self, submission: Submission) -> list[DeliveryRecord]:
        """How the messages to its submitter's webhook fared."""
        return self._store.deliveries.of(submission.submission_id)
