"""What computes Open-NSFW: onnxruntime in 32-bit floats, or OpenVINO in 16-bit ones."""

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

SHAPE = 224, 224, 3  # of a prepared picture
CPU_ONLY = ["CPUExecutionProvider"]  # the same scores on every machine


class Fp32Runtime:
    """onnxruntime, as the network's package has it.

    A batch that finds it idle is computed by all threads together; one that comes beside it has one
    thread, as threads that wait for each other would waste a third of the CPU.

    Args:
        path: The ONNX file.
        threads: CPU threads.
    """

    def __init__(self, path: Path, *, threads: int) -> None:
        self._together = _session(path, threads)
        self._apart = _session(path, 1) if threads > 1 else self._together
        self._input = self._together.get_inputs()[0].name
        self._running = 0
        self._lock = threading.Lock()

    def run(self, batch: Pixels) -> NDArray[np.float64]:
        """Probabilities, in any number of threads at once.

        Args:
            batch: Prepared pictures, shape (n, 224, 224, 3).

        Returns:
            Shape (n, 2), normal and nsfw.

        Raises:
            PredictionFailed: It could not.
        """
        with self._lock:
            session = self._apart if self._running else self._together
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
    """OpenVINO in bfloat16, each batch in the thread that brings it.

    A batch is computed as quickly by one thread as by several that share it, and threads that do
    not wait for each other leave no CPU idle.

    Args:
        path: The ONNX file.
        threads: CPU threads.

    Raises:
        RuntimeError: OpenVINO cannot use the network on this machine.
        PredictionFailed: It cannot compute with it.
    """

    def __init__(self, path: Path, *, threads: int) -> None:
        import openvino  # only where it is used: it takes memory

        options = {
            "INFERENCE_PRECISION_HINT": "bf16",
            "NUM_STREAMS": 0,  # no threads of its own
            "INFERENCE_NUM_THREADS": 1,
        }
        core = openvino.Core()
        network = core.read_model(path)
        self._free: LifoQueue[Any] = LifoQueue()
        for _ in range(threads):  # one that is compiled once computes one batch at a time
            self._free.put(core.compile_model(network, "CPU", options).create_infer_request())
            # Two threads that call OpenVINO for the first time at once may wait for each other for
            # ever: its Python binding makes what it needs on the first call.
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
    """The network in onnxruntime, whose threads do not spin: others are decoding pictures."""
    options = SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return InferenceSession(path, options, providers=CPU_ONLY)


def _failed(error: Exception) -> PredictionFailed:
    return PredictionFailed(f"Open-NSFW could not judge the image: {error}")
