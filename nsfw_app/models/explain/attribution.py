"""Attribution in Vision Transformers: gradients of the score times attention, through all layers.

One forward and one backward pass. The relevance of a patch is what flows from it to the class
token: in each layer, attention times its gradient where positive, averaged over the heads, added to
what earlier layers passed on.

Source: Chefer, Gur and Wolf (2021), "Generic attention-model explainability for interpreting
bi-modal and encoder-decoder transformers", equations 5 and 6, for self-attention.
"""

import copy
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForImageClassification

from nsfw_app.records import LabelRole

# Models that classify by the first token, and whose patches are the last tokens, row by row.
MODEL_TYPES = frozenset({"vit", "deit"})


class Attribution:
    """A ViT for attribution. It shares the weights of the model that computes predictions.

    Attention must be computed as a matrix for this, which is slower, so that the model itself stays
    as it is.

    Args:
        model: A model of `MODEL_TYPES`.
        unsafe: The numbers of its unsafe labels.
    """

    def __init__(self, model: Any, unsafe: list[int]) -> None:
        with torch.device("meta"):
            self._model = AutoModelForImageClassification.from_config(
                copy.deepcopy(model.config), attn_implementation="eager"
            )
        self._model.load_state_dict(model.state_dict(), assign=True)
        self._model.eval().requires_grad_(False)
        self._unsafe = unsafe
        self._safe = [i for i in range(model.config.num_labels) if i not in unsafe]

    @classmethod
    def of(cls, model: Any, roles: Mapping[str, LabelRole]) -> Self | None:
        """The attribution of a model, or None where it is not one of `MODEL_TYPES`.

        Args:
            model: A model of transformers for image classification.
            roles: Of its labels, in the order of its outputs.
        """
        unsafe = [i for i, role in enumerate(roles.values()) if role is LabelRole.UNSAFE]
        if model.config.model_type not in MODEL_TYPES or len(unsafe) == len(roles):
            return None
        return cls(model, unsafe)

    def relevance(self, pixels: torch.Tensor) -> NDArray[np.float64]:
        """How much each patch adds to the log-odds of the nsfw score.

        The log-odds, and not the score: its gradient vanishes where the model is certain.

        Args:
            pixels: Shape (1, 3, height, width).

        Returns:
            Shape (rows, columns) of patches, at least 0.
        """
        with torch.enable_grad():
            outputs = self._model(pixel_values=pixels.requires_grad_(), output_attentions=True)
            logits = outputs.logits[0].float()
            log_odds = logits[self._unsafe].logsumexp(0) - logits[self._safe].logsumexp(0)
            gradients = torch.autograd.grad(log_odds, outputs.attentions)
        tokens = outputs.attentions[0].shape[-1]
        relevance = torch.eye(tokens, device=pixels.device)
        for attention, gradient in zip(outputs.attentions, gradients, strict=True):
            flow = (attention.detach() * gradient)[0].float().clamp(min=0).mean(dim=0)
            relevance = relevance + flow @ relevance
        rows, columns = (side // self._model.config.patch_size for side in pixels.shape[2:])
        patches = relevance[0, tokens - rows * columns :].reshape(rows, columns)
        return patches.cpu().double().numpy()
