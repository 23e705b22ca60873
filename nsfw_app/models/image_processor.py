"""A model's own image processor from transformers."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from transformers import AutoImageProcessor

from nsfw_app.errors import ModelUnsupported
from nsfw_app.explain_errors import MethodUnavailable
from nsfw_app.models.classifier import Box, Pixels
from nsfw_app.models.preprocessing import Preprocessing


class ImageProcessor:
    """Prepares images exactly as the model's authors did.

    Uses the PIL backend, so that torchvision is not needed. The processor of timm models has no
    PIL backend and needs torchvision.

    Args:
        directory: Holds preprocessor_config.json, or config.json of a timm model.
    """

    def __init__(self, directory: Path) -> None:
        self._processor = AutoImageProcessor.from_pretrained(
            directory, local_files_only=True, backend="pil", trust_remote_code=False
        )
        timm = type(self._processor).__name__ == "TimmWrapperImageProcessor"
        self._tensors = "pt" if timm else "np"  # timm's returns torch tensors only

    @property
    def config(self) -> Mapping[str, Any]:
        """Its configuration."""
        values: Mapping[str, Any] = self._processor.to_dict()
        return values

    def prepare(self, image: Image.Image) -> Pixels:
        """Pixel values.

        Args:
            image: RGB, of any size.

        Returns:
            32-bit floats, shape (3, height, width).
        """
        prepared = self._processor(image, return_tensors=self._tensors)["pixel_values"][0]
        return np.asarray(prepared, dtype=np.float32)

    def visible_box(self, size: tuple[int, int]) -> Box:
        """See `Backend.visible_box`.

        Raises:
            MethodUnavailable: The configuration does not say which part that is.
        """
        return visible_box(self.config, size)


def visible_box(config: Mapping[str, Any], size: tuple[int, int]) -> Box:
    """The part of an image that an image processor keeps; see `Backend.visible_box`.

    Args:
        config: The processor's configuration. That of timm models is in `data_config`.
        size: The image's width and height in pixels.

    Raises:
        MethodUnavailable: The configuration does not say which part that is.
    """
    try:
        data_config = config.get("data_config")
        steps = _of_timm(data_config) if data_config else Preprocessing.of(config)
    except (ModelUnsupported, KeyError) as error:
        raise MethodUnavailable(
            "The scores of this model cannot be explained: the configuration of its image "
            "processor does not say which part of an image the model sees."
        ) from error
    return steps.visible_box(size)


def _of_timm(config: Mapping[str, Any]) -> Preprocessing:
    """Sizes and crop of timm's transforms for evaluation; see `transforms_imagenet_eval` there.

    Raises:
        ModelUnsupported: The crop mode is another one than center or squash, or images are
            resized to a rectangle.
        KeyError: A value is missing.
    """
    height, width = config["input_size"][-2:]
    down, across = (math.floor(side / config["crop_pct"]) for side in (height, width))
    mode, square = config["crop_mode"], down == across
    if (mode != "squash" and not (mode == "center" and square)) or min(down, across) < max(
        height, width
    ):
        raise ModelUnsupported(f"Images are cropped in the mode {mode}.")
    return Preprocessing(
        width=across if mode == "squash" else 0,
        height=down if mode == "squash" else 0,
        shorter=down if mode == "center" else 0,
        resample=Image.Resampling.BICUBIC,
        scale=1.0,
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        crop_width=width,
        crop_height=height,
    )
