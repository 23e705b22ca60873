"""ONNX Runtime in 32-bit floats, for models that are published as ONNX files."""

import threading
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnxruntime import InferenceSession, SessionOptions
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, RuntimeException

from nsfw_app.errors import PredictionFailed
from nsfw_app.models.classifier import Pixels

CPU_ONLY = ["CPUExecutionProvider"]  # the same scores on every machine
FP32 = "onnxruntime"  # the backend's name


class Fp32Runtime:
    """A model with one input and one output, in 32-bit floats.

    A batch that arrives while none is computed uses all threads; a concurrent one uses one thread,
    because threads that wait for each other would waste a third of the CPU.

    Args:
        path: The ONNX file.
        name: What errors call the model.
        threads: CPU threads.
    """

    def __init__(self, path: Path, *, name: str, threads: int) -> None:
        self._name = name
        self._all_threads = _session(path, threads)
        self._one_thread = _session(path, 1) if threads > 1 else self._all_threads
        self._input = self._all_threads.get_inputs()[0].name
        self._running = 0
        self._lock = threading.Lock()

    def run(self, batch: Pixels) -> NDArray[np.float64]:
        """Compute probabilities. Thread-safe.

        Args:
            batch: Prepared images, shape (n, ...) as the model takes them.

        Returns:
            Shape (n, labels).

        Raises:
            PredictionFailed: The runtime failed on this batch.
        """
        with self._lock:
            session = self._one_thread if self._running else self._all_threads
            self._running += 1
        try:
            (probabilities,) = session.run(None, {self._input: batch})
        except (Fail, InvalidArgument, RuntimeException) as error:
            raise PredictionFailed(f"{self._name} failed on the image: {error}") from error
        finally:
            with self._lock:
                self._running -= 1
        return np.asarray(probabilities, dtype=np.float64)


def _session(path: Path, threads: int) -> InferenceSession:
    """An ONNX Runtime session. Its threads do not spin, as other threads decode images."""
    options = SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return InferenceSession(path, options, providers=CPU_ONLY)
