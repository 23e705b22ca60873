"""Finds the part of a damaged file that was decoded.

A file is decoded twice, with different placeholders for missing data: another color that pixels
are filled with before, or other bytes after the end. Pixels that are equal in both results were
decoded from the file.
"""

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageFile

from nsfw_app.imaging.boxes import BOX_PIXELS
from nsfw_app.imaging.jpeg_segments import GRAY

# Distances of the columns and rows that are there after each pass of an interlaced file.
WHOLE = ((1, 1),)
GRIDS = {
    "PNG": (*WHOLE, (1, 2), (2, 2), (2, 4), (4, 4), (4, 8), (8, 8)),
    "GIF": (*WHOLE, (1, 2), (1, 4), (1, 8)),
}
FILLINGS = (0, 1)  # of pixels, before decoding

BOTTOM_UP = frozenset({"BMP", "DIB"})  # the last row is stored first

Digests = dict[int, list[int]]  # of each row, by distance of columns
Grids = Sequence[tuple[int, int]]

_tolerant: ContextVar[bool] = ContextVar("tolerant", default=False)


class _Tolerance:
    """Pillow's switch for truncated files, per thread instead of per process."""

    def __bool__(self) -> bool:
        return _tolerant.get()


def register() -> None:
    """Make `tolerant` control whether Pillow loads truncated files, by the switch's truth value."""
    ImageFile.LOAD_TRUNCATED_IMAGES = _Tolerance()  # type: ignore[assignment]


@contextmanager
def tolerant() -> Iterator[None]:
    """Within the block, Pillow keeps the pixels in this thread that it decoded before an error."""
    with _set(True):
        yield


@contextmanager
def strict() -> Iterator[None]:
    """Within the block, Pillow raises errors in this thread, also within `tolerant`."""
    with _set(False):
        yield


@contextmanager
def _set(value: bool) -> Iterator[None]:
    token = _tolerant.set(value)
    try:
        yield
    finally:
        _tolerant.reset(token)


@dataclass(frozen=True, slots=True)
class Part:
    """The part of an image that was decoded.

    Attributes:
        top: First row.
        bottom: Row after the last one.
        height: Rows of the whole image.
        step: Distance of the columns and of the rows that are there.
        is_whole: Whether no pixel is missing.
    """

    top: int
    bottom: int
    height: int
    step: tuple[int, int]
    is_whole: bool

    @property
    def is_all(self) -> bool:
        """Whether it has the full size of the image, though details may be missing."""
        return self.step == (1, 1) and self.bottom - self.top == self.height

    @property
    def share(self) -> float:
        """Fraction of the image's rows, in (0, 1]."""
        return (self.bottom - self.top) / self.height

    def cut(self, image: Image.Image) -> Image.Image:
        """Crop a loaded image of any mode to this part."""
        if (self.top, self.bottom) != (0, image.height):
            image = image.crop((0, self.top, image.width, self.bottom))
        across, down = self.step
        if self.step == (1, 1):
            return image
        size = -(-image.width // across), -(-image.height // down)
        # The first pixel of each cell, not the one in its middle.
        cells = (across, 0, (1 - across) / 2, 0, down, (1 - down) / 2)
        found = image.transform(size, Image.Transform.AFFINE, cells, Image.Resampling.NEAREST)
        finer = min(self.step)  # both ways, so that proportions stay
        size = -(-image.width // finer), -(-image.height // finer)
        return found.resize(size, Image.Resampling.NEAREST)


def grids_of(image: Image.Image) -> Grids:
    """The grids in which a file that is not loaded yet may be incomplete."""
    interlaced = bool(image.info.get("interlace"))
    if image.format == "GIF" and isinstance(image, ImageFile.ImageFile) and image.tile:
        interlaced = bool(image.tile[0].args and image.tile[0].args[1])
    return GRIDS.get(image.format or "", WHOLE) if interlaced else WHOLE


def blank_of(image: Image.Image) -> range | None:
    """Values of pixels that were not decoded, of a file that is not loaded yet; None if unknown."""
    transparent = image.info.get("transparency")
    if image.format == "GIF" and isinstance(transparent, int):
        return range(transparent, transparent + 1)
    return None


def fill(image: Image.Image, number: int) -> None:
    """Fill an image that is not loaded yet with the first or the second color."""
    bands = len(image.getbands())
    color = FILLINGS[number] if bands == 1 else (FILLINGS[number],) * bands
    size = getattr(image, "_tile_size", image.size)  # of a TIFF, before it is rotated
    image.im = Image.new(image.mode, size, color).im


def digests(image: Image.Image, grids: Grids) -> Digests:
    """A checksum of each row of a loaded image, for each distance of columns."""
    found: Digests = {across: [] for across, _ in grids}
    height = max(1, BOX_PIXELS // image.width)
    for top in range(0, image.height, height):
        rows = np.asarray(image.crop((0, top, image.width, min(image.height, top + height))))
        for across, sums in found.items():
            sums += [zlib.crc32(row[::across].tobytes()) for row in rows]
    return found


def common_part(image: Image.Image, first: Digests, second: Digests, grids: Grids) -> Part | None:
    """The part that is equal in two decodings, in the finest grid that is complete.

    Args:
        image: One of the two, loaded.
        first: Digests of the first decoding.
        second: Digests of the second decoding.
        grids: Grids to compare, the finest first.

    Returns:
        None if nothing is equal.
    """
    height = len(first[1])
    same = {
        across: [a == b for a, b in zip(first[across], second[across], strict=True)]
        for across in first
    }
    is_whole = all(same[1])
    if image.info.get("progressive"):  # every scan covers all rows
        part = Part(0, height, height, (1, 1), is_whole)
        return part if is_whole else without_blank_end(image, part, GRAY)
    for across, down in grids:
        top, bottom = _run(same[across][::down], upward=image.format in BOTTOM_UP)
        if top == 0 and bottom * down >= height:
            return Part(0, height, height, (across, down), is_whole)
    if len(grids) > 1:  # not even the first pass is complete
        top, bottom = top * down, min(bottom * down, height)
    return Part(top, bottom, height, (across, down), is_whole) if bottom > top else None


def without_blank_end(image: Image.Image, part: Part, blank: range) -> Part | None:
    """Remove rows at the end of a part that have blank values only, as decoders leave them.

    Args:
        image: Loaded.
        part: The part that may have been decoded.
        blank: Values of a pixel that was not decoded.

    Returns:
        None if nothing is left.
    """
    bottom = part.bottom
    height = max(1, BOX_PIXELS // image.width)
    while bottom > part.top:
        start = max(part.top, bottom - height)
        rows = np.asarray(image.crop((0, start, image.width, bottom)))
        seen = ((rows < blank.start) | (rows >= blank.stop)).reshape(len(rows), -1).any(axis=1)
        if seen.any():
            bottom = start + int(np.flatnonzero(seen)[-1]) + 1
            return replace(part, bottom=bottom, is_whole=part.is_whole and bottom == part.bottom)
        bottom = start
    return None


def _run(flags: Sequence[bool], *, upward: bool) -> tuple[int, int]:
    """Start and end of the true values at the start, or of those at the end."""
    ordered = flags[::-1] if upward else flags
    count = next((at for at, flag in enumerate(ordered) if not flag), len(flags))
    return (len(flags) - count, len(flags)) if upward else (0, count)
