"""What optimized models of all formats have in common."""

from PIL import Image

from nsfw_app.errors import PredictionFailed
from nsfw_app.models.artifacts import Artefact
from nsfw_app.models.cards import display_name
from nsfw_app.models.classifier import Pixels
from nsfw_app.records import ModelIdentity


class ArtefactNetwork:
    """Base class of optimized models; subclasses run them with OpenVINO or ONNX Runtime.

    Args:
        artefact: Where its files are, and how images are prepared.
        backend: Its name on predictions.
    """

    lanes = 1  # one batch at a time has all threads
    gains_by_batches = True

    def __init__(self, artefact: Artefact, backend: str) -> None:
        origin = artefact.origin
        self.identity = ModelIdentity(origin.model, origin.revision, origin.weights_sha256, backend)
        self.roles = artefact.roles
        self.glances = artefact.glances
        if artefact.preprocessing is not None:
            self._prepare = artefact.preprocessing.prepare
        else:
            from nsfw_app.models.image_processor import ImageProcessor  # transformers, and torch

            self._prepare = ImageProcessor(artefact.directory).prepare

    def prepare(self, image: Image.Image) -> Pixels:
        """See `Network.prepare`."""
        try:
            return self._prepare(image)
        except Exception as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> PredictionFailed:
        return PredictionFailed(
            f"{display_name(self.identity.model)} could not judge the image: {error}"
        )
