"""What happens to a picture before a network sees it, as a record that is kept beside the network.

It is read from a model's own image processor, so that a network made faster needs neither that nor
its library. Pictures stay 8-bit: scaling and normalising are part of the exported network.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from PIL import Image

from nsfw_app.errors import ModelUnsupported
from nsfw_app.models.classifier import Pixels

# Pillow shrinks by whole numbers first, down to three times the size, which is much faster for
# large pictures and, from three on, cannot be told from the slow way.
GAP = 3.0
MAX_LEVELS = 4.0  # grey levels on average: a middle that begins half a pixel elsewhere
CONVNEXT_WHOLE = 384  # pixels; in transformers' ConvNextImageProcessor
STEPS = frozenset({"do_resize", "do_rescale", "do_normalize", "do_center_crop", "do_convert_rgb"})


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """Shrunk, the middle kept, then (value * scale - mean) / std by channel.

    A picture is stretched to `width` x `height`, or, where `shorter` is not 0, shrunk until its
    shorter side has that many pixels. `resample` is Pillow's number of the filter. Of the result
    the middle `crop_width` x `crop_height` is kept, all of it where these are 0.
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
        """What a transformers image processor does, from its configuration.

        Raises:
            ModelUnsupported: It does something else than this can record.
        """
        steps = {key for key, on in processor.items() if key.startswith("do_") and on}
        size = dict(processor.get("size") or {})
        crop = dict(processor.get("crop_size") or {}) if "do_center_crop" in steps else {}
        if "crop_pct" in processor and set(size) == {"shortest_edge"}:
            size, crop = _convnext(size["shortest_edge"], processor["crop_pct"])
        stretched = set(size) == {"height", "width"}
        if steps - STEPS or "do_resize" not in steps or not (stretched or _is_shrunk(size, crop)):
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
        """Height, width and channels of a prepared picture."""
        return self.crop_height or self.height, self.crop_width or self.width, 3

    @property
    def side(self) -> int:
        """The side that a picture is shrunk to, in pixels."""
        return max(self.width, self.height, self.shorter)

    def prepare(self, image: Image.Image) -> Pixels:
        """A picture as the network takes it.

        Args:
            image: RGB, of any size.

        Returns:
            Shape `shape`, 8-bit.
        """
        height, width, _ = self.shape
        shrunk = image.resize(
            (width, height), self.resample, box=self._middle(image), reducing_gap=GAP
        )
        return np.asarray(shrunk, dtype=np.uint8)

    def normalized(self, image: Image.Image) -> Pixels:
        """A picture as the model's own image processor gives it: 32-bit floats, channels first."""
        mean, std = (np.array(values)[:, None, None] for values in (self.mean, self.std))
        values = (self.prepare(image).transpose(2, 0, 1) * self.scale - mean) / std
        return np.asarray(values, dtype=np.float32)

    def check(self, image: Image.Image, expected: Pixels) -> None:
        """Make sure that a picture is prepared as the model's own image processor does it.

        Args:
            image: RGB, of any size.
            expected: What the processor makes of it, shape (3, height, width).

        Raises:
            ModelUnsupported: It is not, by more than rounding can explain.
        """
        prepared = self.prepare(image).transpose(2, 0, 1)
        mean, std = (np.array(values)[:, None, None] for values in (self.mean, self.std))
        if prepared.shape == expected.shape:
            levels = (expected * std + mean) / self.scale
            if np.abs(levels - prepared).mean() <= MAX_LEVELS:
                return
        raise ModelUnsupported(
            "How this model prepares images cannot be recorded: its image processor does not do "
            "what its configuration says."
        )

    def _middle(self, image: Image.Image) -> tuple[float, float, float, float]:
        """The part of a picture that is kept, in its own pixels: left, top, right, bottom."""
        height, width, _ = self.shape
        if self.shorter:
            across = down = min(image.size) / self.shorter
        else:
            across, down = image.width / self.width, image.height / self.height
        left = max(0.0, (image.width - width * across) / 2)
        top = max(0.0, (image.height - height * down) / 2)
        return left, top, image.width - left, image.height - top


def _convnext(side: int, crop_pct: float) -> tuple[dict[str, int], dict[str, int]]:
    """Size and crop of ConvNeXT's image processor, which cuts an edge off below 384 pixels."""
    square = {"height": side, "width": side}
    if side >= CONVNEXT_WHOLE:
        return square, {}
    return {"shortest_edge": int(side / crop_pct)}, square


def _is_shrunk(size: Mapping[str, int], crop: Mapping[str, int]) -> bool:
    """Whether a picture keeps its shape until a middle of fixed size, no larger, is kept."""
    shorter = size.get("shortest_edge", 0)
    return set(size) == {"shortest_edge"} and bool(crop) and max(crop.values()) <= shorter
