"""Runtimes of Open-NSFW: ONNX Runtime in 32-bit floats, OpenVINO in bfloat16."""

import threading
from pathlib import Path
from queue import LifoQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnxruntime import InferenceSession, SessionOptions
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, RuntimeException

from nsfw_app.errors import PredictionFailed
from nsfw_app.models.classifier import Pixels

SHAPE = 224, 224, 3  # of a prepared image
CPU_ONLY = ["CPUExecutionProvider"]  # the same scores on every machine


class Fp32Runtime:
    """ONNX Runtime in 32-bit floats, as in the model's package.

    A batch that arrives while none is computed uses all threads; a concurrent one uses one thread,
    because threads that wait for each other would waste a third of the CPU.

    Args:
        path: The ONNX file.
        threads: CPU threads.
    """

    def __init__(self, path: Path, *, threads: int) -> None:
        self._all_threads = _session(path, threads)
        self._one_thread = _session(path, 1) if threads > 1 else self._all_threads
        self._input = self._all_threads.get_inputs()[0].name
        self._running = 0
        self._lock = threading.Lock()

    def run(self, batch: Pixels) -> NDArray[np.float64]:
        """Compute probabilities. Thread-safe.

        Args:
            batch: Prepared images, shape (n, 224, 224, 3).

        Returns:
            Shape (n, 2), normal and nsfw.

        Raises:
            PredictionFailed: The runtime failed on this batch.
        """
        with self._lock:
            session = self._one_thread if self._running else self._all_threads
            self._running += 1
        try:
            (probabilities,) = session.run(None, {self._input: batch})
        except (Fail, InvalidArgument, RuntimeException) as error:
            raise _failed(error) from error
        finally:
            with self._lock:
                self._running -= 1
        return np.asarray(probabilities, dtype=np.float64)


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
        """See `Fp32Runtime.run`."""
        request = self._free.get()
        try:
            (probabilities,) = request.infer({0: batch}).values()
        except RuntimeError as error:
            raise _failed(error) from error
        finally:
            self._free.put(request)
        return np.array(probabilities, dtype=np.float64)


def _session(path: Path, threads: int) -> InferenceSession:
    """An ONNX Runtime session. Its threads do not spin, as other threads decode images."""
    options = SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return InferenceSession(path, options, providers=CPU_ONLY)


def _failed(error: Exception) -> PredictionFailed:
    return PredictionFailed(f"Open-NSFW failed on the image: {error}")
