"""Converts pixels with an embedded ICC profile to sRGB, as browsers do.

- A profile that changes no color by more than `SAME_LEVELS` costs one look-up.
- A profile for another color model than that of the pixels is invalid. Only gray pixels with an
  RGB profile are accepted, as in browsers.
- Profiles are read by littleCMS; those that it rejects are invalid.
- Conversion takes longer than decoding, so an image is first reduced to the size that models and
  previews need.
"""

import hashlib
import io
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from PIL import Image, ImageCms

from nsfw_app.imaging.boxes import box_averaged

SAME_LEVELS = 2  # of 255; not visible
KEPT_TRANSFORMS = 32
SHORTER, LONGER = 1024, 1600  # sides in pixels; the most that models and previews use
GRID = 17  # colors a channel at which a profile is compared with sRGB
SPACES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # of ICC, and their modes
GRAYS = frozenset({"1", "L", "LA"})
COLORS = frozenset({"P", "PA", "RGB", "RGBA", "RGBa", "RGBX"})


@dataclass(frozen=True, slots=True)
class _Transform:
    """Conversion from a profile to sRGB, by mode of the pixels; empty if it changes nothing."""

    mode: str
    by_mode: Mapping[str, ImageCms.ImageCmsTransform] = field(default_factory=dict)


class _Transforms:
    """A thread-safe LRU cache of transforms, by profile."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[bytes, _Transform | None] = OrderedDict()

    def of(self, profile: bytes) -> _Transform | None:
        """The transform of a profile; None if the profile is damaged."""
        key = hashlib.sha256(profile).digest()
        with self._lock:
            known = key in self._kept
            transform = self._kept.get(key)
        if not known:
            transform = _built(profile)
        with self._lock:
            self._kept[key] = transform
            self._kept.move_to_end(key)
            while len(self._kept) > KEPT_TRANSFORMS:
                self._kept.popitem(last=False)
        return transform


_TRANSFORMS = _Transforms()


def converts(profile: object) -> bool:
    """Whether applying a profile changes colors.

    Args:
        profile: An ICC profile; any type but bytes counts as none.
    """
    if not isinstance(profile, bytes) or not profile:
        return False
    transform = _TRANSFORMS.of(profile)
    return transform is not None and bool(transform.by_mode)


def to_srgb(image: Image.Image, profile: bytes) -> Image.Image | None:
    """Convert an image to sRGB, reduced in size if it is large. Consumes its input.

    Args:
        image: Loaded, of at most 8 bits a channel.
        profile: An ICC profile.

    Returns:
        None if the profile is damaged, or for other pixels; the image is unchanged.
    """
    transform = _TRANSFORMS.of(profile)
    if transform is None:
        return None
    fits = {
        "RGB": image.mode in COLORS or image.mode in GRAYS,
        "L": image.mode in GRAYS,
        "CMYK": image.mode == "CMYK",
    }
    if not fits[transform.mode]:
        return None
    if not transform.by_mode:
        return image
    if transform.mode == "RGB":
        return _from_rgb(image, transform)
    if image.mode == "LA" or (image.mode in GRAYS and image.has_transparency_data):
        gray, alpha = _downscaled(image.convert("LA")).split()
        color = _applied(transform.by_mode["L"], gray)
        color.putalpha(alpha)
        return color
    pixels = _downscaled(image.convert("L") if image.mode == "1" else image)
    return _applied(transform.by_mode[transform.mode], pixels)


def _from_rgb(image: Image.Image, transform: _Transform) -> Image.Image:
    mode = "RGBA" if image.has_transparency_data else "RGB"
    if image.mode != mode:
        image = image.convert(mode)
    image = _downscaled(image)
    # In place: a copy costs 4 bytes a pixel.
    transform.by_mode[mode].transform.apply(image.getim(), image.getim())
    return image


def _downscaled(image: Image.Image) -> Image.Image:
    step = min(min(image.size) // SHORTER, max(image.size) // LONGER)
    return box_averaged(image, step) if step > 1 else image


def _applied(transform: ImageCms.ImageCmsTransform, image: Image.Image) -> Image.Image:
    result = Image.new("RGB", image.size)
    transform.transform.apply(image.getim(), result.getim())
    return result


@cache
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def _built(profile: bytes) -> _Transform | None:
    """The transform of a profile, or None where littleCMS cannot use it."""
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = SPACES.get(opened.profile.xcolor_space.strip())
        if mode is None:
            return None
        transform = _transform(opened, mode, "RGB")
        if _changes_nothing(transform, mode):
            return _Transform(mode)
        by_mode = {mode: transform}
        if mode == "RGB":
            by_mode["RGBA"] = _transform(opened, "RGBA", "RGBA")
    except (OSError, ValueError, TypeError):
        return None
    return _Transform(mode, by_mode)


def _transform(
    profile: ImageCms.ImageCmsProfile, mode: str, result: str
) -> ImageCms.ImageCmsTransform:
    """A transform with the profile's own intent; absolute intent becomes relative."""
    intent = profile.profile.rendering_intent
    if intent not in {0, 1, 2}:
        intent = 1 if intent == 3 else 0
    return ImageCms.ImageCmsTransform(
        profile,
        _srgb(),
        mode,
        result,
        ImageCms.Intent(intent),
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )


def _changes_nothing(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Whether colors sampled over the whole range stay the same."""
    if mode == "CMYK":
        return False
    if mode == "L":
        before = np.arange(256, dtype=np.uint8)[None]
    else:
        levels = np.linspace(0, 255, GRID).round().astype(np.uint8)
        grid = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1)
        before = grid.reshape(GRID, GRID * GRID, 3)
    after = np.asarray(_applied(transform, Image.fromarray(before))).astype(int)
    expected = before[..., None] if mode == "L" else before
    return bool(np.abs(after - expected).max() <= SAME_LEVELS)
