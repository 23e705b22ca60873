"""Previews of images: rendered from bytes, and read by callers who may see them."""

import logging
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from PIL import Image

from nsfw_app.errors import ImageRestricted, NotFound, StorageError
from nsfw_app.imaging import decode
from nsfw_app.imaging import previews as renderings
from nsfw_app.imaging.decode import Limits, MinSize
from nsfw_app.models.loader import ModelLoader
from nsfw_app.records import Background, JudgedImage, Prediction, Preview
from nsfw_app.rules.permissions import Caller, Permission
from nsfw_app.store.preview_views import PreviewViews
from nsfw_app.store.previews import PreviewFiles
from nsfw_app.store.restrictions import Restrictions
from nsfw_app.store.visibility import Visibility

log = logging.getLogger(__name__)


class Previews:
    """Previews over a store.

    Args:
        visibility: Which callers may see an image.
        files: Preview files.
        views: To which reviewers a preview was sent.
        restrictions: Images that only administrators may see.
        limits: Largest input accepted.
        loader: Source of the model, whose CPU slots are shared.
    """

    def __init__(
        self,
        visibility: Visibility,
        files: PreviewFiles,
        *,
        views: PreviewViews,
        restrictions: Restrictions,
        limits: Limits,
        loader: ModelLoader,
    ) -> None:
        self._visibility = visibility
        self._files = files
        self._views = views
        self._restrictions = restrictions
        self._limits = limits
        self._loader = loader

    def is_kept(self, image: JudgedImage) -> bool:
        """Whether placeholder and preview file of a stored image are both there."""
        return bool(image.preview.placeholder) and self._files.has(image.info.sha256)

    def jpeg(self, image_sha256: str, caller: Caller) -> bytes:
        """A kept preview, JPEG.

        Raises:
            NotFound: There is none, or the caller may not see it.
        """
        if not self._visibility.is_visible(image_sha256, caller):
            raise NotFound("No such image.")
        return self._files.get(image_sha256)

    def thumbnail(self, image_sha256: str, caller: Caller) -> bytes:
        """A kept preview at the size of a card; see `jpeg`."""
        return renderings.thumbnail(self.jpeg(image_sha256, caller))

    def hides(self, image_sha256: str, caller: Caller) -> bool:
        """Whether an image is restricted, and the caller is no administrator."""
        return not caller.may(Permission.MANAGE) and self._restrictions.holds(image_sha256)

    def was_sent(self, image_sha256: str, caller: Caller) -> bool:
        """Whether the caller was sent a preview."""
        return self._views.has(image_sha256, caller.name)

    def record_view(self, image_sha256: str, caller: Caller) -> None:
        """Record that a reviewer is being sent a preview; decisions then may count as seen.

        The preview is sent also where this cannot be recorded: previews can be viewed while the
        disk is full.
        """
        if caller.may(Permission.REVIEW):
            try:
                self._views.add(image_sha256, caller.name)
            except StorageError as error:
                log.warning("The view of a preview was not recorded: %s", error)

    def render(
        self, data: bytes, *, name: str, frame: int, background: Background, caller: Caller
    ) -> bytes:
        """The preview of one frame, JPEG, without storing it.

        Args:
            data: The file's bytes.
            name: The file's name.
            frame: Its number from 0; the nearest decoded frame is taken.
            background: The color behind transparent pixels.
            caller: To whom it is sent.

        Raises:
            ImageError: The bytes are not an image within the limits.
            ImageRestricted: Administrators only may see it.
        """
        name, sha256 = Path(name).name, decode.sha256(data)
        if caller.owner is not None and self.hides(sha256, caller):
            raise ImageRestricted
        with self._cpu_slot(), decode.memory_for(name):
            decoded = _frame(data, frame, background, name=name, limits=self._limits)
            jpeg = renderings.preview(decoded)
        self.record_view(sha256, caller)
        return jpeg

    def _cpu_slot(self) -> AbstractContextManager[object]:
        classifier = self._loader.status.classifier
        return classifier.cpu_slots.acquire() if classifier else nullcontext()


def rendered_frame(
    data: bytes, prediction: Prediction, *, name: str, limits: Limits
) -> Image.Image:
    """The frame of a prediction, decoded again, large enough for a preview."""
    return _frame(data, prediction.frame, prediction.background, name=name, limits=limits)


def _frame(
    data: bytes, number: int, background: Background, *, name: str, limits: Limits
) -> Image.Image:
    """The frame with this number and background; else the nearest, on the other one."""
    min_size = MinSize(longer=renderings.min_side(renderings.PREVIEW_SIDE))
    frames = decode.decode(data, name=name, limits=limits, min_size=min_size).frames
    return min(frames, key=lambda f: (abs(f.number - number), f.background != background)).image


def describe(image: Image.Image) -> Preview:
    """Placeholder and perceptual hash of a frame."""
    small = _reduced(image)
    return Preview(renderings.placeholder(small), renderings.perceptual_hash(small))


def hashed(image: Image.Image) -> Preview:
    """The perceptual hash of a frame alone, for images that are not shown."""
    return Preview(perceptual_hash=renderings.perceptual_hash(_reduced(image)))


def _reduced(image: Image.Image) -> Image.Image:
    # Averages of whole pixels: half the time of resizing to the exact size.
    factor = max(image.size) // renderings.HASHED_SIDE
    return image.reduce(factor) if factor > 1 else image
