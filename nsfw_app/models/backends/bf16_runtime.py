"""OpenVINO in bfloat16, for the embedded model."""

from pathlib import Path
from queue import LifoQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nsfw_app.errors import PredictionFailed
from nsfw_app.models.classifier import Pixels

SHAPE = 224, 224, 3  # of a prepared image


class Bf16Runtime:
    """OpenVINO in bfloat16; each batch is computed in its caller's thread.

    One thread per batch has the same throughput as several threads that share each batch, and
    threads that do not wait for each other leave no CPU idle.

    Args:
        path: The ONNX file.
        threads: CPU threads.

    Raises:
        RuntimeError: OpenVINO cannot load the model on this machine.
        PredictionFailed: OpenVINO cannot compute it.
    """

    def __init__(self, path: Path, *, threads: int) -> None:
        import openvino  # takes memory, so only where it is used

        options = {
            "INFERENCE_PRECISION_HINT": "bf16",
            "NUM_STREAMS": 0,  # no threads of its own
            "INFERENCE_NUM_THREADS": 1,
        }
        core = openvino.Core()
        model = core.read_model(path)
        self._free: LifoQueue[Any] = LifoQueue()
        for _ in range(threads):  # a compiled model computes one batch at a time
            self._free.put(core.compile_model(model, "CPU", options).create_infer_request())
            # Two threads whose first calls of OpenVINO coincide may deadlock, because its Python
            # binding initializes itself on the first call. So the first call is made here.
            self.run(np.zeros((1, *SHAPE), dtype=np.float32))

    def run(self, batch: Pixels) -> NDArray[np.float64]:
        """See `Backend.score`."""
        request = self._free.get()
        try:
            (probabilities,) = request.infer({0: batch}).values()
        except RuntimeError as error:
            raise PredictionFailed(f"Open-NSFW failed on the image: {error}") from error
        finally:
            self._free.put(request)
        return np.array(probabilities, dtype=np.float64)
