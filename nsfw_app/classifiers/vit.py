"""Any transformers image-classification model, prepared and run by the library's own classes.

Falconsai's ViT is the one this is meant for; nothing here is special to it. The image processor
is the PIL one, so that torchvision is not needed and scores are the reference's.
"""

from collections.abc import Sequence
from pickle import UnpicklingError

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError
from transformers import AutoImageProcessor, AutoModelForImageClassification

from nsfw_app.classifiers import Pixels, weights_sha256
from nsfw_app.classifiers.hub import ModelFiles
from nsfw_app.errors import ModelUnsupported, PredictionFailed
from nsfw_app.models import label_roles
from nsfw_app.records import ModelIdentity

# What transformers lets through when a model's files are damaged or of another kind.
DAMAGED = (
    OSError,
    ValueError,
    RuntimeError,
    LookupError,
    AttributeError,
    TypeError,
    SafetensorError,
    UnpicklingError,
)


class TransformersNetwork:
    """A model from a directory, run by torch on the CPU in 32-bit floats.

    Args:
        model: The id under which its predictions are stored.
        files: Its files on this disk.
        unsafe_labels: The unsafe labels, where the user names them.
        threads: CPU threads torch may use.

    Raises:
        ModelUnsupported: The files cannot be loaded, or the labels' roles are not clear.
    """

    def __init__(
        self, model: str, *, files: ModelFiles, unsafe_labels: Sequence[str], threads: int
    ) -> None:
        torch.set_num_threads(threads)
        try:
            network, loading = AutoModelForImageClassification.from_pretrained(
                files.directory,
                local_files_only=True,
                dtype=torch.float32,
                output_loading_info=True,
            )
            processor = AutoImageProcessor.from_pretrained(
                files.directory, local_files_only=True, backend="pil"
            )
        except DAMAGED as error:
            raise ModelUnsupported(
                f"'{model}' cannot be loaded as an image-classification model: {error}"
            ) from error
        if missing := sorted(loading["missing_keys"]):  # they would be filled with chance
            raise ModelUnsupported(f"The weights of '{model}' lack {', '.join(missing)}.")
        # Some forks store the ids as texts; the configuration turns them back into numbers.
        id2label = {int(i): str(label) for i, label in network.config.id2label.items()}
        labels = [id2label[i] for i in sorted(id2label)]
        self.roles = label_roles(labels, unsafe_labels=unsafe_labels)
        digest = weights_sha256(files.weights)
        self.identity = ModelIdentity(model, files.revision or digest, digest, "torch")
        self._network = network.eval()
        self._processor = processor
        self.side = max(dict(processor.size).values())

    @property
    def lanes(self) -> int:
        """One: torch shares the threads of one computation out by itself."""
        return 1

    def prepare(self, image: Image.Image) -> Pixels:
        """See `Network.prepare`."""
        try:
            prepared = self._processor(image, return_tensors="np")["pixel_values"][0]
        except ValueError as error:
            raise self._failed(error) from error
        return np.asarray(prepared, dtype=np.float32)

    def score(self, batch: Pixels) -> NDArray[np.float64]:
        """See `Network.score`."""
        try:
            with torch.inference_mode():
                logits = self._network(pixel_values=torch.from_numpy(batch)).logits
        except (RuntimeError, ValueError) as error:
            raise self._failed(error) from error
        probabilities: NDArray[np.float64] = logits.double().softmax(dim=-1).numpy()
        return probabilities

    def _failed(self, error: Exception) -> PredictionFailed:
        return PredictionFailed(f"{self.identity.model} could not judge the image: {error}")
