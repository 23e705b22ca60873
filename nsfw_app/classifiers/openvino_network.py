"""A network that OpenVINO runs on the CPU: in 8-bit integers, or in floats as short as it has.

One batch at a time has all threads: measured, two batches with one thread each are a fifth slower,
because each of them is smaller.
"""

from collections.abc import Mapping

import numpy as np
import openvino
from numpy.typing import NDArray
from PIL import Image

from nsfw_app.classifiers import Pixels
from nsfw_app.classifiers.artefacts import Artefact
from nsfw_app.errors import ModelUnsupported, PredictionFailed
from nsfw_app.records import LabelRole, ModelIdentity

MODEL = "model.xml"


class OpenVinoNetwork:
    """An artefact's network.

    Args:
        artefact: Where its files are, and how pictures are prepared.
        roles: Whether each label is safe or unsafe, in the model's order.
        threads: CPU threads.

    Raises:
        ModelUnsupported: OpenVINO cannot use it on this machine.
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
        options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
        try:
            self._compiled = openvino.Core().compile_model(artefact.file(MODEL), "CPU", options)
        except RuntimeError as error:
            raise ModelUnsupported(
                f"OpenVINO cannot use {artefact.directory} on this machine: {error}"
            ) from error

    def prepare(self, image: Image.Image) -> Pixels:
        """See `Network.prepare`."""
        return self._preprocessing.prepare(image)

    def score(self, batch: Pixels) -> NDArray[np.float64]:
        """See `Network.score`."""
        try:
            (probabilities,) = self._compiled({0: batch}).values()
        except RuntimeError as error:
            raise PredictionFailed(
                f"{self.identity.model} could not judge the image: {error}"
            ) from error
        return np.array(probabilities, dtype=np.float64)
