"""A network that onnxruntime runs on the CPU.

Pictures are computed one after the other, with all threads together: more at once are not
faster, and 8-bit integers would share one range of numbers, so that each picture changed the
scores of the others.
"""

from collections.abc import Mapping

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, RuntimeException
from PIL import Image

from nsfw_app.classifiers import Pixels
from nsfw_app.classifiers.artefacts import Artefact
from nsfw_app.errors import ModelUnsupported, PredictionFailed
from nsfw_app.records import LabelRole, ModelIdentity

MODEL = "model.onnx"
FAILURES = (Fail, InvalidArgument, RuntimeException)


class OnnxNetwork:
    """An artefact's network.

    Args:
        artefact: Where its files are, and how pictures are prepared.
        roles: Whether each label is safe or unsafe, in the model's order.
        threads: CPU threads.

    Raises:
        ModelUnsupported: onnxruntime cannot use it on this machine.
    """

    lanes = 1

    def __init__(self, artefact: Artefact, *, roles: Mapping[str, LabelRole], threads: int) -> None:
        origin = artefact.origin
        self.identity = ModelIdentity(
            origin.model, origin.revision, origin.weights_sha256, artefact.format
        )
        self.roles = roles
        self._preprocessing = artefact.recorded_preprocessing
        self.side = self._preprocessing.side
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        try:
            self._session = onnxruntime.InferenceSession(
                artefact.file(MODEL), options, providers=["CPUExecutionProvider"]
            )
        except FAILURES as error:
            raise ModelUnsupported(
                f"onnxruntime cannot use {artefact.directory} on this machine: {error}"
            ) from error
        self._input = self._session.get_inputs()[0].name

    def prepare(self, image: Image.Image) -> Pixels:
        """See `Network.prepare`."""
        return self._preprocessing.prepare(image)

    def score(self, batch: Pixels) -> NDArray[np.float64]:
        """See `Network.score`."""
        try:
            rows = [self._session.run(None, {self._input: row[np.newaxis]})[0] for row in batch]
        except FAILURES as error:
            raise PredictionFailed(
                f"{self.identity.model} could not judge the image: {error}"
            ) from error
        return np.concatenate(rows).astype(np.float64)
