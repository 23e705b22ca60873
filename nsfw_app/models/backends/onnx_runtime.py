"""Optimized models that ONNX Runtime runs on the CPU.

Images are computed one after the other, each with all threads. A batch is not faster, and dynamic
quantization would use one range for the whole batch, so that each image changed the scores of the
others.
"""

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, RuntimeException

from nsfw_app.errors import ModelUnsupported
from nsfw_app.models.artifacts import OptimizedModel
from nsfw_app.models.backends.optimized import OptimizedBackend
from nsfw_app.models.classifier import Pixels

MODEL = "model.onnx"
FAILURES = (Fail, InvalidArgument, RuntimeException)


class OnnxBackend(OptimizedBackend):
    """An optimized model in ONNX Runtime.

    Args:
        optimized_model: The model with its files.
        backend: Its name on predictions.
        threads: CPU threads.

    Raises:
        ModelUnsupported: ONNX Runtime cannot load it on this machine.
    """

    def __init__(self, optimized_model: OptimizedModel, *, backend: str, threads: int) -> None:
        super().__init__(optimized_model, backend)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(
                optimized_model.file(MODEL), options, providers=["CPUExecutionProvider"]
            )
        except FAILURES as error:
            raise ModelUnsupported(
                f"onnxruntime cannot load the {optimized_model.format} model here: {error}"
            ) from error
        self._input = self._session.get_inputs()[0].name

    def score(self, batch: Pixels) -> NDArray[np.float64]:
        """See `Backend.score`."""
        try:
            rows = [self._session.run(None, {self._input: row[np.newaxis]})[0] for row in batch]
        except FAILURES as error:
            raise self._failed(error) from error
        return np.concatenate(rows).astype(np.float64)
