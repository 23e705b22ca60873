"""Any transformers image-classification model, prepared and run by the library's own classes.

Falconsai's ViT is the one this is meant for; nothing here is special to it. The image processor
is the PIL one, so that torchvision is not needed and scores are the reference's.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from importlib.util import find_spec
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError
from transformers import AutoImageProcessor, AutoModelForImageClassification
from transformers.utils.logging import disable_progress_bar

from nsfw_app.classifiers import Glance, Pixels
from nsfw_app.classifiers.artefacts import Format, Origin
from nsfw_app.classifiers.hub import ModelFiles
from nsfw_app.errors import ModelUnsupported, PredictionFailed
from nsfw_app.models import label_roles
from nsfw_app.records import ModelIdentity

disable_progress_bar()  # of weights being read, which is quick; a download has a bar of its own

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


class Device(StrEnum):
    """What torch computes on."""

    CPU = "cpu"
    CUDA = "cuda"
    MPS = "mps"


# Shorter floats than 32 bits, and the name under which their report is kept.
SHORT_FLOATS: Mapping[Device, tuple[torch.dtype, Format]] = {
    Device.CPU: (torch.bfloat16, Format.TORCH_BF16),
    Device.CUDA: (torch.float16, Format.TORCH_CUDA_FP16),
    Device.MPS: (torch.float16, Format.TORCH_MPS_FP16),
}
EXACT: Mapping[Device, str] = {
    Device.CPU: "torch",
    Device.CUDA: "torch-cuda",
    Device.MPS: "torch-mps",
}


def device() -> Device:
    """The fastest device that is there."""
    if torch.cuda.is_available():
        return Device.CUDA
    return Device.MPS if torch.backends.mps.is_available() else Device.CPU


class TransformersNetwork:
    """A model from a directory, run by torch in 32-bit floats until `shorten` is called.

    Args:
        origin: The id, revision and weights under which its predictions are stored.
        files: Its files on this disk.
        unsafe_labels: The unsafe labels, where the user names them.
        threads: CPU threads torch may use.
        device: What to compute on.

    Raises:
        ModelUnsupported: The files cannot be loaded, or the labels' roles are not clear.
    """

    lanes = 1  # torch shares the threads of one computation out by itself
    gains_by_batches = True
    glances: Sequence[Glance] = ()  # nobody measured any

    def __init__(
        self,
        origin: Origin,
        *,
        files: ModelFiles,
        unsafe_labels: Sequence[str],
        threads: int,
        device: Device = Device.CPU,
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
                f"'{origin.model}' cannot be loaded as an image-classification model: {error}"
            ) from error
        if missing := sorted(loading["missing_keys"]):  # they would be filled with chance
            raise ModelUnsupported(f"The weights of '{origin.model}' lack {', '.join(missing)}.")
        # Some forks store the ids as texts; the configuration turns them back into numbers.
        id2label = {int(i): str(label) for i, label in network.config.id2label.items()}
        self.roles = label_roles(
            [id2label[i] for i in sorted(id2label)], unsafe_labels=unsafe_labels
        )
        self.origin = origin
        self.device = device
        self.model = network.eval().to(device)
        self._dtype = torch.float32
        self._backend = EXACT[device]
        self._processor = processor
        self._compute: Any = self._probabilities
        self.is_lent_a_gpu = _is_lent_a_gpu()
        if self.is_lent_a_gpu:
            self._compute = _lent_a_gpu(self._probabilities)

    @property
    def identity(self) -> ModelIdentity:
        """See `Network`."""
        origin = self.origin
        return ModelIdentity(origin.model, origin.revision, origin.weights_sha256, self._backend)

    @property
    def processor(self) -> Mapping[str, Any]:
        """The configuration of its image processor."""
        values: Mapping[str, Any] = self._processor.to_dict()
        return values

    @property
    def short_format(self) -> Format:
        """The name of what `shorten` makes of it."""
        return SHORT_FLOATS[self.device][1]

    def shorten(self) -> None:
        """Compute in the 16-bit floats of the device from now on."""
        self._dtype, self._backend = SHORT_FLOATS[self.device]
        self.model = self.model.to(self._dtype)

    @contextmanager
    def shortened(self) -> Iterator[None]:
        """The same until the block ends; the 32-bit weights are back afterwards."""
        exact = copy.deepcopy(self.model), self._dtype, self._backend
        self.shorten()
        try:
            yield
        finally:
            self.model, self._dtype, self._backend = exact

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
            probabilities: NDArray[np.float64] = self._compute(batch)
        except (RuntimeError, ValueError) as error:
            raise self._failed(error) from error
        return probabilities

    def _probabilities(self, batch: Pixels) -> NDArray[np.float64]:
        with torch.inference_mode():
            pixels = torch.from_numpy(batch).to(self.device, self._dtype)
            logits = self.model(pixel_values=pixels).logits.float().cpu().double()
        probabilities: NDArray[np.float64] = logits.softmax(dim=-1).numpy()
        return probabilities

    def _failed(self, error: Exception) -> PredictionFailed:
        return PredictionFailed(f"{self.origin.model} could not judge the image: {error}")


def _is_lent_a_gpu() -> bool:
    """Whether this is a Space with ZeroGPU, which lends a graphics card for one call at a time."""
    if find_spec("spaces") is None:
        return False
    import spaces

    return hasattr(spaces.zero, "startup")


def _lent_a_gpu(function: Any) -> Any:
    """The function as ZeroGPU wants it. The weights that are on the card go where it keeps them."""
    import spaces

    decorated = spaces.GPU(function)
    spaces.zero.startup()  # which Gradio's own launch would call
    return decorated
