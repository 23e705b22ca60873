"""Converts grays of over 8 bits, signed and floating-point ones to 8 bits, box by box."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nsfw_app.imaging.boxes import Box, boxes

USUAL_WHITES = (1.0, 255.0)  # of files that do not define white; otherwise 65,535


@dataclass(frozen=True, slots=True)
class Levels:
    """Sample format of a gray image.

    Attributes:
        bits: Bits per sample.
        signed: Whether samples are two's complement.
        white_is_zero: Whether zero is white, and the image was not inverted yet.
        is_float: Whether samples are floating-point numbers.
    """

    bits: int
    signed: bool = False
    white_is_zero: bool = False
    is_float: bool = False


UNKNOWN = Levels(16)


def is_deep(image: Image.Image) -> bool:
    """Whether `eight_bit` has to convert an image."""
    levels = image.info.get("levels", UNKNOWN)
    return image.mode.startswith(("I", "F")) or (image.mode == "L" and levels.signed)


def eight_bit(image: Image.Image) -> Image.Image:
    """Convert an image to 8-bit grays, scaled from black to white, not clipped. Closes its input.

    Args:
        image: Loaded; `is_deep` is true for it.

    Returns:
        Mode L, or LA if one gray is transparent.
    """
    levels = image.info.get("levels", UNKNOWN)
    transparent = image.info.get("transparency")
    black, white = _range(image, levels)
    has_alpha = isinstance(transparent, int)
    result = Image.new("LA" if has_alpha else "L", image.size)
    for box, values in _parts(image, levels):
        scaled = (values.clip(black, white) - black) / (white - black) * 255
        grays = scaled.round().astype(np.uint8)
        if levels.white_is_zero:
            grays = 255 - grays
        part = Image.fromarray(grays)
        if has_alpha:
            opaque = np.where(values == transparent, 0, 255).astype(np.uint8)
            part = Image.merge("LA", (part, Image.fromarray(opaque)))
        result.paste(part, box)
    image.close()
    return result


def _range(image: Image.Image, levels: Levels) -> tuple[float, float]:
    """The values of black and white.

    If the file does not define them: with negative integers of up to 16 bits their whole range,
    otherwise the range of the values; without negative ones black is 0, and white the smallest
    usual value that is not exceeded.
    """
    if image.mode.startswith("I;16") and not levels.is_float:
        return 0.0, 2.0**levels.bits - 1
    extremes = [(float(v.min()), float(v.max())) for _, v in _parts(image, levels)]
    low, high = min(low for low, _ in extremes), max(high for _, high in extremes)
    half = 2.0 ** (levels.bits - 1)
    short = levels.signed and levels.bits <= 16
    if levels.signed and low < 0:
        return (-half, half - 1) if short else (low, max(high, low + 1))
    if image.mode == "L":
        return 0.0, half - 1
    top = max(high, 0.0)
    usual = (*USUAL_WHITES, half - 1 if short else 65_535.0)
    return 0.0, next((white for white in usual if top <= white), top)


def _parts(image: Image.Image, levels: Levels) -> Iterator[tuple[Box, NDArray[np.float64]]]:
    """The image's values by box; NaN and infinity become 0."""
    for box in boxes(image.size):
        stored = np.asarray(image.crop(box))
        if image.mode == "L":
            stored = stored.view(np.int8)
        elif image.mode.startswith("I;16") and levels.is_float:
            stored = stored.view(stored.dtype.str.replace("u", "f"))
        elif image.mode == "I" and levels.bits == 32 and not levels.signed:
            stored = stored.view(np.uint32)
        with np.errstate(invalid="ignore"):  # not every 32 bits are a number
            values = stored.astype(np.float64)
        yield box, np.nan_to_num(values, copy=False, posinf=0, neginf=0)
