"""What the networks of all formats have in common."""

from PIL import Image

from nsfw_app.classifiers import Pixels
from nsfw_app.classifiers.artefacts import Artefact
from nsfw_app.errors import PredictionFailed
from nsfw_app.records import ModelIdentity


class ArtefactNetwork:
    """An artefact's network, but for what computes it.

    Args:
        artefact: Where its files are, and how pictures are prepared.
        backend: Its name on predictions.

    Raises:
        ModelUnsupported: How pictures are prepared is not recorded.
    """

    lanes = 1  # one batch at a time has all threads
    gains_by_batches = True

    def __init__(self, artefact: Artefact, backend: str) -> None:
        origin = artefact.origin
        self.identity = ModelIdentity(origin.model, origin.revision, origin.weights_sha256, backend)
        self.roles = artefact.roles
        self.glances = artefact.glances
        self._preprocessing = artefact.recorded_preprocessing

    def prepare(self, image: Image.Image) -> Pixels:
        """See `Network.prepare`."""
        return self._preprocessing.prepare(image)

    def _failed(self, error: Exception) -> PredictionFailed:
        return PredictionFailed(f"{self.identity.model} could not judge the image: {error}")
