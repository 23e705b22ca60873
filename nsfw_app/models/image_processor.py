"""A model's own image processor from transformers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from transformers import AutoImageProcessor

from nsfw_app.errors import ModelUnsupported
from nsfw_app.models.classifier import Box, Pixels
from nsfw_app.models.preprocessing import Preprocessing

WHOLE: Box = (0.0, 0.0, 1.0, 1.0)


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
        """See `Backend.visible_box`. The whole image where the steps are not known."""
        try:
            return Preprocessing.of(self.config).visible_box(size)
        except (ModelUnsupported, KeyError):
            return WHOLE
