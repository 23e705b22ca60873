"""PyTorch backend: any image-classification model of transformers, run by the library's classes.

It is meant for Falconsai's ViT, but nothing here is specific to it.
"""

import copy
from collections.abc import Mapping, Sequence
from enum import StrEnum
from importlib.util import find_spec
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from transformers import AutoModelForImageClassification
from transformers.utils.logging import disable_progress_bar

from nsfw_app.errors import ModelDamaged, ModelUnsupported, PredictionFailed
from nsfw_app.models.artifacts import ModelVersion
from nsfw_app.models.cards import display_name, label_roles
from nsfw_app.models.checkpoints import (
    check_checkpoint,
    labels_of,
    listed,
    load_errors,
    unsafe_labels_of,
    weights_mismatch,
)
from nsfw_app.models.classifier import Box, DownscaleRule, Pixels
from nsfw_app.models.explain.attribution import Attribution
from nsfw_app.models.hub import ModelFiles
from nsfw_app.models.image_processor import ImageProcessor
from nsfw_app.models.optimized_formats import Format
from nsfw_app.records import ModelIdentity

TEST_IMAGE = Image.new("RGB", (320, 240), (128, 128, 128))

disable_progress_bar()  # of reading weights, which is quick; downloads have their own


class Device(StrEnum):
    """The devices that torch computes on."""

    CPU = "cpu"
    CUDA = "cuda"
    MPS = "mps"


# The half precision of each device, and the format under which its parity report is stored.
HALF_PRECISION: Mapping[Device, tuple[torch.dtype, Format]] = {
    Device.CPU: (torch.bfloat16, Format.TORCH_BF16),
    Device.CUDA: (torch.float16, Format.TORCH_CUDA_FP16),
    Device.MPS: (torch.float16, Format.TORCH_MPS_FP16),
}
FP32_BACKENDS: Mapping[Device, str] = {
    Device.CPU: "torch",
    Device.CUDA: "torch-cuda",
    Device.MPS: "torch-mps",
}


def device() -> Device:
    """The fastest device of this machine."""
    if torch.cuda.is_available():
        return Device.CUDA
    return Device.MPS if torch.backends.mps.is_available() else Device.CPU


class TransformersBackend:
    """A model run by torch in 32-bit floats; `to_half` returns one in half precision.

    Args:
        origin: The id, revision and weights under which its predictions are stored.
        files: Its files on this machine.
        unsafe_labels: The unsafe labels by name, for labels that are not known words.
        threads: CPU threads that torch may use.
        device: The device to compute on.

    Raises:
        ModelError: The model cannot be loaded or does not work, or its labels' roles are unknown.
    """

    max_concurrency = 1  # torch parallelizes one computation by itself
    supports_batching = True
    downscale_rules: Sequence[DownscaleRule] = ()  # not measured for torch

    def __init__(
        self,
        origin: ModelVersion,
        *,
        files: ModelFiles,
        unsafe_labels: Sequence[str],
        threads: int,
        device: Device = Device.CPU,
    ) -> None:
        torch.set_num_threads(threads)
        self.origin = origin
        self.device = device
        with load_errors(origin.model):
            check_checkpoint(origin.model, files)
            model = self._load(files)
            self.processor = ImageProcessor(files.directory)
            self.model = model.eval().to(device)
        labels = labels_of(model.config, display_name(origin.model))
        named = unsafe_labels_of(origin.model, files, unsafe_labels, labels)
        self.roles = label_roles(labels, unsafe_labels=named, model=origin.model)
        self._dtype = torch.float32
        self._backend = FP32_BACKENDS[device]
        self.on_zero_gpu = _on_zero_gpu()
        self._compute: Any = self._probabilities
        self._attribution: Attribution | None = None
        if self.on_zero_gpu:  # the GPU is attached only while a request is served
            self._compute = _with_zero_gpu(self._probabilities)
        else:
            self._check()

    def _load(self, files: ModelFiles) -> Any:
        """The model with its weights.

        Raises:
            ModelDamaged: Weights are missing, or have other shapes than the configuration says.
        """
        try:
            model, loading = AutoModelForImageClassification.from_pretrained(
                files.directory,
                local_files_only=True,
                trust_remote_code=False,
                dtype=torch.float32,
                output_loading_info=True,
            )
        except RuntimeError as error:
            if "ignore_mismatched_sizes" not in str(error):
                raise
            raise weights_mismatch(self.origin.model, files) from error
        if missing := sorted(loading["missing_keys"]):  # transformers would fill them at random
            raise ModelDamaged(
                f"The weights of '{display_name(self.origin.model)}' lack {listed(missing)}. They "
                "belong to a model for another task, or were not saved completely. Choose another "
                "NSFW_MODEL."
            )
        return model

    def _check(self) -> None:
        """Run the model on a test image.

        Raises:
            ModelUnsupported: It does not accept the output of its image processor.
            ModelDamaged: Its output is not one number for each label.
        """
        name = display_name(self.origin.model)
        try:
            rows = self.score(self.prepare(TEST_IMAGE)[None])
        except PredictionFailed as error:
            raise ModelUnsupported(
                f"'{name}' fails on a test image: {error.__cause__ or error} Check that its "
                "preprocessor_config.json belongs to its config.json."
            ) from error
        if rows.shape != (1, len(self.roles)):
            raise ModelDamaged(
                f"'{name}' returns {rows.shape[-1]} outputs, but its config.json names "
                f"{len(self.roles)} labels."
            )
        if not np.isfinite(rows).all():
            raise ModelDamaged(
                f"'{name}' returns no numbers for a test image: its weights are damaged. Download "
                "or save the model again."
            )

    @property
    def identity(self) -> ModelIdentity:
        """See `Backend`."""
        origin = self.origin
        return ModelIdentity(origin.model, origin.revision, origin.weights_sha256, self._backend)

    @property
    def half_format(self) -> Format:
        """The format that `to_half` returns."""
        return HALF_PRECISION[self.device][1]

    def attribution(self, prepared: Pixels) -> NDArray[np.float64] | None:
        """See `Attributing.attribution`."""
        if self.on_zero_gpu:
            return None
        try:
            if self._attribution is None:
                self._attribution = Attribution.of(self.model, self.roles)
            if self._attribution is None:
                return None
            pixels = torch.from_numpy(prepared[None]).to(self.device, self._dtype)
            return self._attribution.relevance(pixels)
        except Exception as error:
            raise self._failed(error) from error

    def to_half(self) -> Self:
        """The same model in the half precision of the device; this one stays unchanged."""
        half = copy.copy(self)
        half._dtype, half._backend = HALF_PRECISION[self.device]
        half.model = copy.deepcopy(self.model).to(half._dtype)
        half._compute = half._probabilities
        half._attribution = None
        return half

    def prepare(self, image: Image.Image) -> Pixels:
        """See `Backend.prepare`."""
        try:
            return self.processor.prepare(image)
        except Exception as error:
            raise self._failed(error) from error

    def visible_box(self, size: tuple[int, int]) -> Box:
        """See `Backend.visible_box`."""
        return self.processor.visible_box(size)

    def score(self, batch: Pixels) -> NDArray[np.float64]:
        """See `Backend.score`."""
        try:
            probabilities: NDArray[np.float64] = self._compute(batch)
        except Exception as error:
            raise self._failed(error) from error
        return probabilities

    def _probabilities(self, batch: Pixels) -> NDArray[np.float64]:
        with torch.inference_mode():
            pixels = torch.from_numpy(batch).to(self.device, self._dtype)
            logits = self.model(pixel_values=pixels).logits.float().cpu().double()
        probabilities: NDArray[np.float64] = logits.softmax(dim=-1).numpy()
        return probabilities

    def _failed(self, error: Exception) -> PredictionFailed:
        return PredictionFailed(f"{display_name(self.origin.model)} failed on the image: {error}")


def _on_zero_gpu() -> bool:
    """Whether this is a Space with ZeroGPU, which attaches a GPU for one call at a time."""
    if find_spec("spaces") is None:
        return False
    import spaces

    return hasattr(spaces.zero, "startup")


def _with_zero_gpu(function: Any) -> Any:
    """Decorate a function for ZeroGPU, which then also manages the weights on the GPU."""
    import spaces

    decorated = spaces.GPU(function)
    spaces.zero.startup()  # normally called by Gradio's launch
    return decorated
