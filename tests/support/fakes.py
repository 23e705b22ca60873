"""A fake classifier, and images with known fake scores."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image

from nsfw_app.concurrency import CpuSlots
from nsfw_app.imaging.decode import Limits
from nsfw_app.models.classifier import DownscaleRule
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
