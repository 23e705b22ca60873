"""A fake classifier, and the images it judges."""

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
    """Reads the score off the picture: the red of its first pixel, 0 to 255, over 255.

    It counts the pictures it was shown, so that tests can see what was not computed again.
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
        """The picture as it is."""
        return image

    def predict_prepared(self, pictures: Sequence[Any]) -> list[dict[str, float]]:
        """See `Classifier.predict_prepared`."""
        return self.predict(pictures)

    def predict(self, images: Sequence[Image.Image]) -> list[dict[str, float]]:
        """The red of each picture's first pixel, as a probability."""
        self.seen += len(images)
        scores = [image.getpixel((0, 0))[0] / 255 for image in images]
        return [{"normal": 1 - score, "nsfw": score} for score in scores]


def picture_bytes(
    red: int, *, size: tuple[int, int] = (40, 30), image_format: str = "PNG"
) -> bytes:
    """A plain picture whose fake score is `red` / 255."""
    buffer = io.BytesIO()
    Image.new("RGB", size, (red, 90, 60)).save(buffer, image_format)
    return buffer.getvalue()
