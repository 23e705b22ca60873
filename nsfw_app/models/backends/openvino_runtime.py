"""Optimized models that OpenVINO runs on the CPU: int8, half precision, or fp32.

One batch at a time uses all threads. Measured, two batches at once with one thread each are a fifth
slower, because each of them is smaller.
"""

import numpy as np
import openvino
from numpy.typing import NDArray

from nsfw_app.errors import ModelUnsupported
from nsfw_app.models.artifacts import OptimizedModel
from nsfw_app.models.backends.optimized import OptimizedBackend
from nsfw_app.models.classifier import Pixels
from nsfw_app.models.optimized_formats import Format

MODEL = "model.xml"


class OpenVinoBackend(OptimizedBackend):
    """An optimized model in OpenVINO.

    Args:
        optimized_model: The model with its files.
        backend: Its name on predictions.
        threads: CPU threads.

    Raises:
        ModelUnsupported: OpenVINO cannot load it on this machine.
    """

    def __init__(self, optimized_model: OptimizedModel, *, backend: str, threads: int) -> None:
        super().__init__(optimized_model, backend)
        self._one_by_one = optimized_model.one_by_one
        options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
        if optimized_model.format is Format.OPENVINO_FP32:  # the default is half precision
            options["INFERENCE_PRECISION_HINT"] = "f32"
        try:
            self._compiled = openvino.Core().compile_model(
                optimized_model.file(MODEL), "CPU", options
            )
        except RuntimeError as error:
            raise ModelUnsupported(
                f"OpenVINO cannot load the {optimized_model.format} model on this machine: {error}"
            ) from error

    def score(self, batch: Pixels) -> NDArray[np.float64]:
        """See `Backend.score`."""
        parts = [row[np.newaxis] for row in batch] if self._one_by_one else [batch]
        try:
            rows = [np.array(next(iter(self._compiled({0: part}).values()))) for part in parts]
        except RuntimeError as error:
            raise self._failed(error) from error
        return np.concatenate(rows).astype(np.float64)
