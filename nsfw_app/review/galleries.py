"""Galleries reopened: an owner's batches, and the reviews of those images that are still kept."""

from dataclasses import dataclass

from nsfw_app.errors import NotFound
from nsfw_app.models.loader import ModelLoader
from nsfw_app.records import Review
from nsfw_app.review.previews import Previews
from nsfw_app.review.queue import QueueService
from nsfw_app.rules.permissions import Caller
from nsfw_app.store import Store
from nsfw_app.store.galleries import Gallery

MAX_GALLERIES = 50


@dataclass(frozen=True, slots=True)
class ReopenedGallery:
    """Reviews of a gallery's images, how many were left out, and why; no text where none was."""

    reviews: list[Review]
    left_out: int
    why: str


class GalleryService:
    """Galleries over a store.

    Args:
        store: Uploads and previews.
        queue: Reviews stored predictions.
        previews: Knows which images are hidden.
        loader: The model whose predictions are preferred.
    """

    def __init__(
        self, store: Store, queue: QueueService, *, previews: Previews, loader: ModelLoader
    ) -> None:
        self._store = store
        self._queue = queue
        self._previews = previews
        self._loader = loader

    def latest(self, caller: Caller) -> list[Gallery]:
        """The caller's galleries, the latest first; none without an owner."""
        return self._store.galleries.latest(caller.owner or "", limit=MAX_GALLERIES)

    def reopen(self, batch_id: str, caller: Caller) -> ReopenedGallery:
        """The images of one of the caller's galleries whose previews are kept.

        Raises:
            NotFound: The caller has no such gallery.
        """
        classifier = self._loader.status.classifier
        identity = classifier.identity if classifier else None
        images = self._store.galleries.images(
            caller.owner or "",
            batch_id,
            model=identity.model if identity else "",
            revision=identity.revision if identity else "",
            backend=identity.backend if identity else "",
        )
        if not images:
            raise NotFound(f"You have no gallery {batch_id}.")
        shown = [each for each in images if not self._previews.hides(each.image_sha256, caller)]
        kept = [each for each in shown if self._store.previews.has(each.image_sha256)]
        return ReopenedGallery(
            [self._queue.review_of(each.prediction_id, name=each.name) for each in kept],
            len(images) - len(kept),
            _why(deleted=len(shown) - len(kept), restricted=len(images) - len(shown)),
        )


def _why(*, deleted: int, restricted: int) -> str:
    causes = []
    if deleted:
        causes.append(f"Retention keeps no preview of {_images(deleted)} any more.")
    if restricted:
        causes.append(f"Administrators only may see {_images(restricted)}.")
    return " ".join(causes)


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count} images"
