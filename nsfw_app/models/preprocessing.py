"""A model's preprocessing as a record that is stored with its optimized models.

It is read from the configuration of the model's own image processor, so that an optimized model
needs neither the processor nor its library. Images stay 8-bit: scaling and normalizing are part of
the exported model.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from PIL import Image

from nsfw_app.errors import ModelUnsupported
from nsfw_app.models.classifier import Box, Pixels

# Pillow first shrinks by a whole factor, down to three times the target size. That is much faster
# for large images; with a gap of at least three the result is visually the same.
REDUCING_GAP = 3.0
MAX_LEVELS = 4.0  # mean difference in gray levels; a crop that is off by half a pixel stays below
CONVNEXT_UNCROPPED = 384  # pixels; in transformers' ConvNextImageProcessor
STEPS = frozenset({"do_resize", "do_rescale", "do_normalize", "do_center_crop", "do_convert_rgb"})


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """Resize, center crop, then (value * scale - mean) / std by channel.

    - An image is stretched to `width` x `height`, or, where `shorter` is not 0, resized until its
      shorter side has that many pixels.
    - `resample` is Pillow's number of the filter.
    - The center `crop_width` x `crop_height` of the result is kept, all of it where these are 0.
    """

    width: int
    height: int
    shorter: int
    resample: int
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    crop_width: int = 0
    crop_height: int = 0

    @classmethod
    def of(cls, processor: Mapping[str, Any]) -> Self:
        """Read the configuration of a transformers image processor.

        Raises:
            ModelUnsupported: The processor has a step that this record cannot express.
        """
        steps = {key for key, on in processor.items() if key.startswith("do_") and on}
        size = dict(processor.get("size") or {})
        crop = dict(processor.get("crop_size") or {}) if "do_center_crop" in steps else {}
        if "crop_pct" in processor and set(size) == {"shortest_edge"}:
            size, crop = _convnext(size["shortest_edge"], processor["crop_pct"])
        stretched = set(size) == {"height", "width"}
        if (
            steps - STEPS
            or "do_resize" not in steps
            or not (stretched or _crops_within_resized(size, crop))
        ):
            raise ModelUnsupported(
                "How this model prepares images cannot be recorded: "
                f"{', '.join(sorted(steps))}; size {size}."
            )
        normalizes = "do_normalize" in steps
        return cls(
            width=int(size.get("width", 0)),
            height=int(size.get("height", 0)),
            shorter=int(size.get("shortest_edge", 0)),
            resample=int(processor.get("resample", Image.Resampling.BILINEAR)),
            scale=float(processor["rescale_factor"]) if "do_rescale" in steps else 1.0,
            mean=tuple(processor["image_mean"]) if normalizes else (0.0,) * 3,
            std=tuple(processor["image_std"]) if normalizes else (1.0,) * 3,
            crop_width=int(crop.get("width", 0)),
            crop_height=int(crop.get("height", 0)),
        )

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The record that `to_json` wrote."""
        return cls(**{**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])})

    def to_json(self) -> dict[str, Any]:
        """The record for a file."""
        return asdict(self)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of a prepared image."""
        return self.crop_height or self.height, self.crop_width or self.width, 3

    @property
    def side(self) -> int:
        """The longest side that an image is resized to, in pixels."""
        return max(self.width, self.height, self.shorter)

    def prepare(self, image: Image.Image) -> Pixels:
        """The input of an optimized model.

        Args:
            image: RGB, of any size.

        Returns:
            Shape `shape`, 8-bit.
        """
        height, width, _ = self.shape
        resized = image.resize(
            (width, height),
            self.resample,
            box=self._crop_box(image.size),
            reducing_gap=REDUCING_GAP,
        )
        return np.asarray(resized, dtype=np.uint8)

    def normalized(self, image: Image.Image) -> Pixels:
        """The input of the original model: 32-bit floats, channels first."""
        mean, std = (np.array(values)[:, None, None] for values in (self.mean, self.std))
        values = (self.prepare(image).transpose(2, 0, 1) * self.scale - mean) / std
        return np.asarray(values, dtype=np.float32)

    def check(self, image: Image.Image, expected: Pixels) -> None:
        """Check that an image is prepared as the model's own image processor does it.

        Args:
            image: RGB, of any size.
            expected: The processor's output for it, shape (3, height, width).

        Raises:
            ModelUnsupported: The outputs differ by more than rounding.
        """
        prepared = self.prepare(image).transpose(2, 0, 1)
        mean, std = (np.array(values)[:, None, None] for values in (self.mean, self.std))
        if prepared.shape == expected.shape:
            levels = (expected * std + mean) / self.scale
            if np.abs(levels - prepared).mean() <= MAX_LEVELS:
                return
        raise ModelUnsupported(
            "How this model prepares images cannot be recorded: its image processor differs from "
            "its configuration."
        )

    def visible_box(self, size: tuple[int, int]) -> Box:
        """See `Backend.visible_box`."""
        left, top, right, bottom = self._crop_box(size)
        return left / size[0], top / size[1], right / size[0], bottom / size[1]

    def _crop_box(self, size: tuple[int, int]) -> tuple[float, float, float, float]:
        """The part of an image that is kept, in its own pixels: left, top, right, bottom."""
        height, width, _ = self.shape
        if self.shorter:
            across = down = min(size) / self.shorter
        else:
            across, down = size[0] / self.width, size[1] / self.height
        left = max(0.0, (size[0] - width * across) / 2)
        top = max(0.0, (size[1] - height * down) / 2)
        return left, top, size[0] - left, size[1] - top


def _convnext(side: int, crop_pct: float) -> tuple[dict[str, int], dict[str, int]]:
    """Size and crop of ConvNeXT's image processor, which crops below 384 pixels only."""
    square = {"height": side, "width": side}
    if side >= CONVNEXT_UNCROPPED:
        return square, {}
    return {"shortest_edge": int(side / crop_pct)}, square


def _crops_within_resized(size: Mapping[str, int], crop: Mapping[str, int]) -> bool:
    """Whether the shorter side is resized, then a center of fixed size within it is cropped."""
    shorter = size.get("shortest_edge", 0)
    return set(size) == {"shortest_edge"} and bool(crop) and max(crop.values()) <= shorter
