"""Flattens transparent images on white, and on black if that shows different content.

Browsers and chats show them on light and on dark pages, and an image can be made so that it shows
one thing on white and another on black. Both are classified if they differ at the input size of
models. A warning is added only if the content itself differs:

- at least `TRANSLUCENT_SHARE` of the visible image is translucent, and its opacity itself has
  content: it changes from point to point, by more than a fade and by less than an edge; or
- nothing is visible on white, and something is on black.

The edge of a logo, its empty surroundings, text and a fade do not meet these conditions.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from nsfw_app.imaging.boxes import boxes

OPAQUE = 255
OPACITY_SIDE = 64  # parts a side at which opacity is averaged; models take 224 and more
NEARLY_OPAQUE = 247  # average opacity from which an image looks the same on both
SAMPLES_SIDE = 128  # points a side at which the two images are compared
VISIBLE, SOLID = (
    16,
    239,
)  # least opacity of visible, and of opaque pixels
TRANSLUCENT_SHARE = 0.25  # of the visible points
SHADES = (3.0, 60.0)  # of 255: how much neighboring points differ in opacity, on average
BLANK_LEVELS, SEEN_LEVELS = 4.0, 16.0  # standard deviation of an image that shows nothing, or some


@dataclass(frozen=True, slots=True)
class Flattened:
    """An image on white and on black, RGB.

    Attributes:
        on_white: With all its pixels.
        on_black: Reduced where it would be large; None where it would look the same.
        has_other_content: Whether it shows something else on black.
    """

    on_white: Image.Image
    on_black: Image.Image | None = None
    has_other_content: bool = False


def flatten(image: Image.Image, *, max_black_pixels: int) -> Flattened:
    """Remove the transparency of an image. Consumes its input: it may be changed or closed.

    Args:
        image: Loaded, 8 bits a channel at most, any mode.
        max_black_pixels: What an image on black is reduced to.
    """
    if not image.has_transparency_data:
        return Flattened(image if image.mode == "RGB" else image.convert("RGB"))
    opacity = _opacity(image)
    if opacity.getextrema() == (OPAQUE, OPAQUE):
        return Flattened(_without_alpha(image))
    small = opacity.resize(
        (min(OPACITY_SIDE, image.width), min(OPACITY_SIDE, image.height)), Image.Resampling.BOX
    )
    opacity.close()
    if np.asarray(small).min() >= NEARLY_OPAQUE:
        return Flattened(_on_white(image))
    has_other_content = _shows_other_content(image)
    black = _on_black(image, max_black_pixels)
    return Flattened(_on_white(image), black, has_other_content)


def _opacity(image: Image.Image) -> Image.Image:
    """The alpha channel, mode L."""
    if image.mode in {"RGBA", "LA"}:
        return image.getchannel("A")
    opacity = Image.new("L", image.size)
    for box in boxes(image.size):
        opacity.paste(image.crop(box).convert("RGBA").getchannel("A"), box)
    return opacity


def _without_alpha(image: Image.Image) -> Image.Image:
    """An opaque image as RGB."""
    image.info.pop("transparency", None)
    if image.mode == "RGBA":
        image.im.setmode("RGB")  # in place: a copy would cost 4 bytes a pixel
        image._mode = "RGB"
    return image if image.mode == "RGB" else image.convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    in_place = image.mode in {"RGB", "RGBA"}
    result = image if in_place else Image.new("RGB", image.size)
    for box in boxes(image.size):
        part = _composed(image.crop(box), "white")
        result.paste(part.convert(result.mode), box)
    if in_place:
        return _without_alpha(result)
    image.close()
    return result


def _on_black(image: Image.Image, max_pixels: int) -> Image.Image:
    pixels = image.width * image.height
    step = max(1, int(np.ceil((pixels / max_pixels) ** 0.5)))
    result = Image.new("RGB", (-(-image.width // step), -(-image.height // step)))
    for box in boxes(image.size, step=step):
        part = _composed(image.crop(box), "black")
        if step > 1:
            part = part.reduce(step)
        result.paste(part, (box[0] // step, box[1] // step))
    return result


def _composed(part: Image.Image, background: str) -> Image.Image:
    rgba = part.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, background), rgba).convert("RGB")


def _shows_other_content(image: Image.Image) -> bool:
    size = min(SAMPLES_SIDE, image.width), min(SAMPLES_SIDE, image.height)
    points = image.resize(size, Image.Resampling.NEAREST).convert("RGBA")
    alpha = np.asarray(points.getchannel("A"), dtype=float)
    grays = np.asarray(points.convert("RGB").convert("L"), dtype=float)
    black = grays * alpha / OPAQUE
    white = black + OPAQUE - alpha
    if white.std() < BLANK_LEVELS and black.std() >= SEEN_LEVELS:
        return True
    visible = alpha >= VISIBLE
    translucent = visible & (alpha < SOLID)
    if not translucent.any() or translucent.sum() < TRANSLUCENT_SHARE * visible.sum():
        return False
    # The image on white is the image on black plus the inverse of its opacity, which has to vary.
    across = np.abs(np.diff(alpha, axis=1, append=alpha[:, -1:]))
    down = np.abs(np.diff(alpha, axis=0, append=alpha[-1:]))
    least, most = SHADES
    return bool(least <= (across + down)[translucent].mean() / 2 <= most)
