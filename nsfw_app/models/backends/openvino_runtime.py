"""Optimized models that OpenVINO runs on the CPU: in 8-bit integers, in half precision, or in fp32.

Measured, two batches at once with one thread each are a fifth slower than one with both, because
each of them is smaller.
"""

import numpy as np
import openvino
from numpy.typing import NDArray

from nsfw_app.errors import ModelUnsupported
from nsfw_app.models.artifacts import OptimizedModel
from nsfw_app.models.backends.optimized import OptimizedBackend
from nsfw_app.models.classifier import Pixels
from nsfw_app.models.formats import Format

MODEL = "model.xml"


class OpenVinoBackend(OptimizedBackend):
    """See the module and its base.

    Args:
        artefact: Where its files are.
        backend: Its name on predictions.
        threads: CPU threads.

    Raises:
        ModelUnsupported: OpenVINO cannot use it on this machine.
    """

    def __init__(self, optimized_model: OptimizedModel, *, backend: str, threads: int) -> None:
        super().__init__(optimized_model, backend)
        self._one_by_one = optimized_model.one_by_one
        options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
        if (
            optimized_model.format is Format.OPENVINO_FP32
        ):  # the default is the CPU's half precision
            options["INFERENCE_PRECISION_HINT"] = "f32"
        try:
            self._compiled = openvino.Core().compile_model(
                optimized_model.file(MODEL), "CPU", options
            )
        except RuntimeError as error:
            raise ModelUnsupported(
                f"OpenVINO cannot use the {optimized_model.format} model on this machine: {error}"
            ) from error

    def score(self, batch: Pixels) -> NDArray[np.float64]:
        """See `Backend.score`."""
        parts = [row[np.newaxis] for row in batch] if self._one_by_one else [batch]
        try:
            rows = [np.array(next(iter(self._compiled({0: part}).values()))) for part in parts]
        except RuntimeError as error:
            raise self._failed(error) from error
        return np.concatenate(rows).astype(np.float64)
