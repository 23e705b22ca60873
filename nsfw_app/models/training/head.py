"""The classification head of a transformers model: the linear layer that returns its logits.

- The output of the head is what the model returns, which is checked on a test image.
- A head is updated by adding one linear function of its input to the logits of all unsafe labels.
  The log-odds of unsafe against safe labels then move by exactly that function, for any number of
  labels, and the proportions among the unsafe and among the safe ones stay.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit
from torch import nn

from nsfw_app.errors import ModelUnsupported, OutOfMemory, PredictionFailed, lacks_memory
from nsfw_app.models.cards import display_name
from nsfw_app.models.classifier import Pixels
from nsfw_app.records import LabelRole

if TYPE_CHECKING:
    from nsfw_app.models.backends.pytorch import TransformersBackend

Floats = NDArray[np.float64]
SAME_LOGITS = 1e-4  # relative to their size; rounding in 32-bit floats


@dataclass(frozen=True, slots=True)
class HeadUpdate:
    """A linear function of the head's input, `features @ weights + bias`.

    `weights` has shape (features,). It is added to the log-odds of unsafe against safe labels.
    """

    weights: Floats
    bias: float


class Head:
    """The head of a model, and what it receives.

    Args:
        backend: The model; only read.

    Raises:
        ModelUnsupported: Its logits are not the output of a linear layer with a bias.
    """

    def __init__(self, backend: "TransformersBackend") -> None:
        self._backend = backend
        self._layer = find_layer(backend.model)
        self.unsafe = np.array([role is LabelRole.UNSAFE for role in backend.roles.values()])
        if self._layer is None or self._layer.bias is None or not self._returns_logits():
            raise ModelUnsupported(
                f"'{display_name(backend.origin.model)}' does not end with a linear layer, so no "
                "new head can be fitted to it. Choose another model."
            )

    def _returns_logits(self) -> bool:
        layer = self._layer
        if layer is None or layer.out_features != len(self._backend.roles):
            return False
        from nsfw_app.models.backends.pytorch import TEST_IMAGE

        try:
            features, logits = self.compute(self._backend.prepare(TEST_IMAGE)[None])
        except PredictionFailed:
            return False
        if features.shape != (1, layer.in_features):
            return False
        weight, bias = (each.detach().float().cpu().numpy() for each in (layer.weight, layer.bias))
        expected = features @ weight.T + bias
        # In half precision, the layer rounds its output to 8 or 11 bits.
        tolerance = SAME_LOGITS if layer.weight.dtype is torch.float32 else 0.02
        return bool(np.abs(expected - logits).max() <= tolerance * max(1, np.abs(logits).max()))

    @property
    def shape(self) -> tuple[int, int]:
        """Number of features and of labels."""
        layer: Any = self._layer
        return layer.in_features, layer.out_features

    def compute(self, batch: Pixels) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """What the head receives and returns for prepared images.

        Args:
            batch: Shape (n, 3, height, width).

        Returns:
            Features, shape (n, features), and logits, shape (n, labels).

        Raises:
            PredictionFailed: The model failed.
        """
        layer: Any = self._layer
        try:
            with torch.inference_mode(), _inputs_of(layer) as inputs:
                pixels = torch.from_numpy(batch).to(self._backend.device, layer.weight.dtype)
                logits = self._backend.model(pixel_values=pixels).logits
            features = inputs[-1].float().cpu().numpy()
            return features, logits.float().cpu().numpy()
        except Exception as error:
            raise _failed(self._backend.origin.model, error) from error


def find_layer(model: Any) -> nn.Linear | None:
    """The last linear layer of a model."""
    found = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    return found[-1] if found else None


def update_head(model: Any, update: HeadUpdate, unsafe: NDArray[np.bool_]) -> None:
    """Add a function to the logits of the unsafe labels of a model in 32-bit floats.

    Args:
        model: Is changed.
        update: The function.
        unsafe: Shape (labels,), which are the unsafe ones.
    """
    layer: Any = find_layer(model)
    with torch.no_grad():
        rows = torch.from_numpy(unsafe)
        layer.weight[rows] += torch.from_numpy(update.weights).to(layer.weight)
        layer.bias[rows] += update.bias


def log_odds(logits: NDArray[Any], unsafe: NDArray[np.bool_]) -> Floats:
    """Log-odds of the unsafe against the safe labels, shape (n,), from logits (n, labels)."""
    values = logits.astype(np.float64)
    odds: Floats = np.logaddexp.reduce(values[:, unsafe], axis=1) - np.logaddexp.reduce(
        values[:, ~unsafe], axis=1
    )
    return odds


def nsfw_scores(logits: NDArray[Any], unsafe: NDArray[np.bool_]) -> Floats:
    """Sums of the unsafe labels' probabilities, shape (n,), from logits of shape (n, labels)."""
    scores: Floats = expit(log_odds(logits, unsafe))
    return scores


def _failed(model: str, error: Exception) -> PredictionFailed:
    if lacks_memory(error):
        return OutOfMemory()
    return PredictionFailed(f"'{display_name(model)}' failed on the images: {error}")


@contextmanager
def _inputs_of(layer: nn.Module) -> Iterator[list[torch.Tensor]]:
    """The tensors that a layer receives within the block."""
    inputs: list[torch.Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _, arguments: inputs.append(arguments[0]))
    try:
        yield inputs
    finally:
        hook.remove()
