"""Base class of the backends that run optimized models."""

from PIL import Image

from nsfw_app.errors import PredictionFailed
from nsfw_app.models.artifacts import OptimizedModel
from nsfw_app.models.cards import display_name
from nsfw_app.models.classifier import Pixels
from nsfw_app.records import ModelIdentity


class OptimizedBackend:
    """Base class of backends of optimized models; subclasses use OpenVINO or ONNX Runtime.

    Args:
        optimized_model: Its files, labels and preprocessing.
        backend: Its name on predictions.
    """

    max_concurrency = 1  # one batch at a time uses all threads
    supports_batching = True

    def __init__(self, optimized_model: OptimizedModel, backend: str) -> None:
        origin = optimized_model.origin
        self.identity = ModelIdentity(origin.model, origin.revision, origin.weights_sha256, backend)
        self.roles = optimized_model.roles
        self.downscale_rules = optimized_model.downscale_rules
        if optimized_model.preprocessing is not None:
            self._prepare = optimized_model.preprocessing.prepare
            self.visible_box = optimized_model.preprocessing.visible_box
        else:
            # Imports transformers and torch, so only where it is used.
            from nsfw_app.models.image_processor import ImageProcessor

            processor = ImageProcessor(optimized_model.directory)
            self._prepare, self.visible_box = processor.prepare, processor.visible_box

    def prepare(self, image: Image.Image) -> Pixels:
        """See `Backend.prepare`."""
        try:
            return self._prepare(image)
        except Exception as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> PredictionFailed:
        return PredictionFailed(f"{display_name(self.identity.model)} failed on the image: {error}")
