"""Inputs and results of decoding: limits, minimum size, frames."""

import math
from dataclasses import dataclass

from PIL import Image

from nsfw_app.records import Background, ImageInfo


@dataclass(frozen=True, slots=True)
class Limits:
    """Largest input accepted: bytes of a file, pixels of a frame, frames that are decoded."""

    max_bytes: int
    max_pixels: int
    max_frames: int


@dataclass(frozen=True, slots=True)
class MinSize:
    """Smallest sides needed, in pixels; a larger JPEG may be decoded at a smaller scale."""

    shorter: int = 0
    longer: int = 0

    def of(self, size: tuple[int, int]) -> tuple[int, int]:
        """The smallest size with these sides, in the proportions of the one given."""
        share = max(self.shorter / min(size), self.longer / max(size))
        return math.ceil(size[0] * share), math.ceil(size[1] * share)


@dataclass(frozen=True, slots=True)
class Frame:
    """One image of a file.

    Attributes:
        number: Counts from 0.
        image: RGB.
        background: The color that its transparent pixels are shown on.
    """

    number: int
    image: Image.Image
    background: Background = Background.WHITE


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """A file's facts and its frames in the file's order, at least one.

    A transparent frame occurs twice if it differs on white and on black.

    Attributes:
        info: Facts about the file, which do not depend on the size of the frames.
        frames: The images to classify.
        reduced: Whether the frames have fewer pixels than the file, as `MinSize` allowed.
    """

    info: ImageInfo
    frames: tuple[Frame, ...]
    reduced: bool = False
