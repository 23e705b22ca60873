"""Renders decoded images as frames: 8 bits a channel, sRGB, opaque, upright, within limits."""

from collections.abc import Iterator
from dataclasses import dataclass

from PIL import Image, ImageOps
from PIL.ExifTags import Base

from nsfw_app.imaging import color, grayscale, memory, transparency
from nsfw_app.imaging.boxes import box_averaged
from nsfw_app.imaging.frames import Frame
from nsfw_app.records import Background, WarningCode

BLACK_SHARE = 4  # images on black are reduced to this fraction of a frame's pixels


@dataclass(slots=True)
class Renderer:
    """Makes frames of the images of one file.

    Attributes:
        max_pixels: The limit of an image, which determines the memory budget.
        frame_pixels: The most pixels of a frame; larger ones are reduced.
        orientation: As in EXIF, 1 to 8.
        warnings: Codes found so far; more are added.
    """

    max_pixels: int
    frame_pixels: int
    orientation: int
    warnings: set[WarningCode]

    def frames(self, number: int, image: Image.Image, profile: object) -> Iterator[Frame]:
        """The frames of an image: on white, and on black if it differs there.

        Args:
            number: Of the frame, in the file.
            image: Loaded; it is changed or closed.
            profile: Its ICC profile, empty for none; any type but bytes means that it is damaged.
        """
        if grayscale.is_deep(image):
            image = grayscale.eight_bit(image)
        is_copied = self.orientation != 1 or image.mode not in memory.IN_PLACE
        if is_copied and not memory.holds_copy(image.size, max_pixels=self.max_pixels):
            image = box_averaged(image, 2)
        flat = transparency.flatten(
            self._in_srgb(image, profile),
            max_black_pixels=max(1, self.frame_pixels // BLACK_SHARE),
        )
        if flat.has_other_content:
            self.warnings.add(WarningCode.TRANSPARENCY)
        for background, shown in (
            (Background.WHITE, flat.on_white),
            (Background.BLACK, flat.on_black),
        ):
            if shown is not None:
                upright = _upright(shown, self.orientation)
                yield Frame(number, _within(upright, self.frame_pixels), background)

    def _in_srgb(self, image: Image.Image, profile: object) -> Image.Image:
        if profile == b"":
            return image
        if isinstance(profile, bytes):
            converted = color.to_srgb(image, profile)
            if converted is not None:
                return converted
        self.warnings.add(WarningCode.COLOR_PROFILE)
        return image


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    """Rotate an image by its EXIF orientation, and drop its metadata."""
    image.info.clear()
    tags = image.getexif()
    tags.clear()
    if orientation == 1:
        return image
    tags[Base.Orientation] = orientation
    upright = ImageOps.exif_transpose(image)
    upright.info.clear()
    return upright


def _within(image: Image.Image, max_pixels: int) -> Image.Image:
    if image.width * image.height <= max_pixels:
        return image
    scale = (max_pixels / (image.width * image.height)) ** 0.5
    height = max(1, int(image.height * scale))
    width = max(1, min(int(image.width * scale), max_pixels // height))
    return image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=2.0)
