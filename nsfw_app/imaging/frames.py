"""What decoding takes and gives: limits, the pixels that are needed, frames."""

import math
from dataclasses import dataclass

from PIL import Image

from nsfw_app.records import Ground, ImageInfo


@dataclass(frozen=True, slots=True)
class Limits:
    """Largest input accepted: bytes of a file, pixels of a frame, frames looked at."""

    max_bytes: int
    max_pixels: int
    max_frames: int


@dataclass(frozen=True, slots=True)
class MinSize:
    """The pixels that are needed, of the shorter and of the longer side.

    A JPEG with more may be decoded at half, a quarter or an eighth of its size.
    """

    shorter: int = 0
    longer: int = 0

    def of(self, size: tuple[int, int]) -> tuple[int, int]:
        """The smallest size with these sides, in the shape of the one given."""
        share = max(self.shorter / min(size), self.longer / max(size))
        return math.ceil(size[0] * share), math.ceil(size[1] * share)


@dataclass(frozen=True, slots=True)
class Frame:
    """One image of a file.

    Attributes:
        number: Counts from 0.
        image: RGB.
        ground: The color that its transparent pixels are shown on.
    """

    number: int
    image: Image.Image
    ground: Ground = Ground.WHITE


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """A file's facts and its frames in the file's order, at least one.

    A transparent frame is there twice where white and black ground make a difference.

    Attributes:
        info: The file's own facts, however small its frames were decoded.
        frames: What to look at.
        reduced: Whether the frames have fewer pixels than the file, as `MinSize` allowed.
    """

    info: ImageInfo
    frames: tuple[Frame, ...]
    reduced: bool = False
