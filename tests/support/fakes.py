"""A fake classifier, and images with known fake scores."""

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from nsfw_app.concurrency import CpuSlots, Priority
from nsfw_app.imaging.decode import Limits
from nsfw_app.models.classifier import Box, DownscaleRule
from nsfw_app.records import LabelRole, ModelIdentity

LIMITS = Limits(max_bytes=10_000_000, max_pixels=4_000_000, max_frames=16)


class FakeClassifier:
    """The nsfw score is the red of an image's first pixel divided by 255.

    `seen` counts the images, so that tests can check what was not computed again.
    """

    identity = ModelIdentity("fake", "r1", "f" * 64, "test")
    roles: Mapping[str, LabelRole] = {"normal": LabelRole.SAFE, "nsfw": LabelRole.UNSAFE}

    waiting = 0
    downscale_rules = (DownscaleRule(4, 0.02), DownscaleRule(8, 0.04))
    max_in_flight = 6

    def __init__(self) -> None:
        self.seen = 0
        self.cpu_slots = CpuSlots(2)

    def prepare(self, image: Image.Image) -> Any:
        """The image itself."""
        return image

    def predict_prepared(self, prepared: Sequence[Any]) -> list[dict[str, float]]:
        """See `Classifier.predict_prepared`."""
        return self.predict(prepared)

    def predict(self, images: Sequence[Image.Image]) -> list[dict[str, float]]:
        """See `Classifier.predict`."""
        self.seen += len(images)
        scores = [image.getpixel((0, 0))[0] / 255 for image in images]
        return [{"normal": 1 - score, "nsfw": score} for score in scores]


def image_bytes(red: int, *, size: tuple[int, int] = (40, 30), image_format: str = "PNG") -> bytes:
    """A plain image whose fake score is `red` / 255."""
    buffer = io.BytesIO()
    Image.new("RGB", size, (red, 90, 60)).save(buffer, image_format)
    return buffer.getvalue()


class ExplainableClassifier(FakeClassifier):
    """The nsfw score is the mean red of the corner that is the first of four by four, over 255.

    It sees images at a side of `SIDE`. `batches` has the size of each batch of covered versions;
    `before_batch` is called before it.
    """

    SIDE = 28  # pixels
    CORNER = 7  # pixels

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []
        self.before_batch: Callable[[], object] = lambda: None

    def prepare(self, image: Image.Image) -> Any:
        """Shape (SIDE, SIDE, 3), 8-bit."""
        return np.asarray(image.resize((self.SIDE, self.SIDE), Image.Resampling.BILINEAR))

    def visible_box(self, size: tuple[int, int]) -> Box:
        """The whole image."""
        return 0.0, 0.0, 1.0, 1.0

    def attribution(self, prepared: Any) -> None:
        """None: it is no ViT."""

    def predict_prepared(
        self, prepared: Sequence[Any], *, priority: Priority = Priority.REQUEST
    ) -> list[dict[str, float]]:
        """See `Classifier.predict_prepared`."""
        if priority is Priority.BACKGROUND:
            self.before_batch()
            self.batches.append(len(prepared))
        self.seen += len(prepared)
        corner = slice(0, self.CORNER)
        scores = [float(pixels[corner, corner, 0].mean()) / 255 for pixels in prepared]
        return [{"normal": 1 - score, "nsfw": score} for score in scores]


def corner_image(red: int = 255, *, size: tuple[int, int] = (80, 60)) -> bytes:
    """A PNG, black but for a red corner: `ExplainableClassifier` scores it about `red` / 255."""
    image = Image.new("RGB", size)
    image.paste((red, 0, 0), (0, 0, size[0] // 4, size[1] // 4))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
