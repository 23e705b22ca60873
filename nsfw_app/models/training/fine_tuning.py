"""Fine-tuning: the last encoder blocks of a model are trained together with its head.

- The head is fitted first: a head that does not fit sends gradients through the blocks that
  distort their features.
- A part of the images, with near duplicates together, is kept for validation. Training ends when
  its loss has not fallen for `PATIENCE` epochs, and the weights of the best epoch are kept.
- Images are decoded in every epoch, so that memory does not depend on their number.

Sources: Kumar et al. (2022), for the head first; Loshchilov and Hutter (2019), for AdamW.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold
from torch import nn

from nsfw_app.dataset_errors import TrainingError
from nsfw_app.models.cards import display_name
from nsfw_app.models.training.features import batched
from nsfw_app.models.training.head import Floats, find_layer
from nsfw_app.models.training.image_inputs import ImageInput, read_inputs
from nsfw_app.models.training.regression import class_weights
from nsfw_app.records import LabelRole

if TYPE_CHECKING:
    from nsfw_app.models.backends.pytorch import TransformersBackend

BATCH = 16  # images
LEARNING_RATE = 2e-5  # as is usual for the pretrained blocks of a ViT
WEIGHT_DECAY = 0.01
MAX_GRADIENT = 1.0  # norm
MAX_EPOCHS = 10
PATIENCE = 2  # epochs
PARTS = 6  # of which one is for validation


@dataclass(frozen=True, slots=True)
class FineTuning:
    """How the last blocks were trained.

    `losses` are of the validation part, in which both labels weigh the same: first that of the
    fitted head, then that after each epoch. `best_epoch` is the one that was kept, 0 for none.
    """

    blocks: int
    losses: tuple[float, ...]
    best_epoch: int
    validation_images: int


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Images to train with: files, and labels, groups of near duplicates and sampling weights.

    The arrays have shape (n,). `level` is what is added to log-odds, see `regression.best_level`.
    """

    paths: Sequence[Path]
    unsafe: NDArray[np.bool_]
    groups: NDArray[np.int64]
    weights: Floats
    level: float

    def split(self, *, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Indices of the images to fit to and of those for validation."""
        parts = StratifiedGroupKFold(PARTS, shuffle=True, random_state=seed)
        fitted, validation = next(iter(parts.split(self.paths, self.unsafe, self.groups)))
        return fitted, validation


def blocks_text(count: int) -> str:
    """So many of a model's last blocks, after the word last."""
    return "encoder block" if count == 1 else f"{count} encoder blocks"


def check_blocks(backend: "TransformersBackend", count: int) -> None:
    """Check that a model has as many encoder blocks.

    Raises:
        TrainingError: It has fewer.
    """
    found = len(_blocks(backend.model))
    if count > found:
        raise TrainingError(
            f"'{display_name(backend.origin.model)}' has {found} encoder "
            f"block{'' if found == 1 else 's'}, so {count} cannot be trained."
        )


def fine_tune(
    model: Any,
    backend: "TransformersBackend",
    data: TrainingData,
    *,
    blocks: int,
    seed: int,
    threads: int,
    progress: Callable[[str], None],
) -> FineTuning:
    """Train the last blocks and the head of a model in 32-bit floats.

    Args:
        model: In evaluation mode, so that dropout and the statistics of normalization layers stay
            as in use; is changed. Its head is fitted already.
        backend: Its original, which prepares the images.
        data: The images; `data.split(seed=seed)` are the parts that are used.
        blocks: How many encoder blocks.
        seed: Of the order of images and of the validation part.
        threads: Images decoded at once.
        progress: Called with a sentence after each epoch.

    """
    fitted, validation = data.split(seed=seed)
    parameters = _parameters(model, blocks)
    unsafe_labels = torch.tensor([role is LabelRole.UNSAFE for role in backend.roles.values()])
    weights = class_weights(data.unsafe, data.weights)

    def losses(order: NDArray[np.int64]) -> Any:
        """The weighted loss of each batch, and its number of images."""
        paths = [data.paths[i] for i in order]
        inputs = read_inputs(paths, backend, threads=threads)
        for number, batch in enumerate(batched(inputs, BATCH)):
            chosen = order[number * BATCH : number * BATCH + len(batch)]
            pixels = torch.from_numpy(np.stack([_pixels(each) for each in batch]))
            logits = model(pixel_values=pixels.to(backend.device)).logits
            log_odds = torch.logsumexp(logits[:, unsafe_labels], 1) - torch.logsumexp(
                logits[:, ~unsafe_labels], 1
            )
            loss = nn.functional.binary_cross_entropy_with_logits(
                log_odds + data.level,
                torch.from_numpy(data.unsafe[chosen]).to(log_odds),
                torch.from_numpy(weights[chosen]).to(log_odds),
            )
            yield loss, len(batch)

    def validate() -> float:
        with torch.no_grad():
            total: float = sum(float(loss) * count for loss, count in losses(validation))
        return total / len(validation)

    optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    random = np.random.default_rng(seed)
    found, best, kept = [validate()], 0, _copied(parameters)
    for epoch in range(1, MAX_EPOCHS + 1):
        for loss, _ in losses(random.permutation(fitted)):
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, MAX_GRADIENT)
            optimizer.step()
        found.append(validate())
        progress(f"Epoch {epoch}: validation loss {found[-1]:.4f}, before training {found[0]:.4f}.")
        if found[-1] < found[best]:
            best, kept = epoch, _copied(parameters)
        elif epoch - best >= PATIENCE:
            break
    with torch.no_grad():
        for parameter, value in zip(parameters, kept, strict=True):
            parameter.copy_(value)
            parameter.requires_grad_(False)
    return FineTuning(blocks, tuple(found), best, len(validation))


def _blocks(model: Any) -> Sequence[nn.Module]:
    """The encoder blocks, or the stages of a hierarchical model, in their order."""
    lists = [layer for layer in model.modules() if isinstance(layer, nn.ModuleList)]
    sizes = [sum(each.numel() for each in layers.parameters()) for layers in lists]
    return list(lists[int(np.argmax(sizes))]) if lists else []


def _parameters(model: Any, blocks: int) -> list[nn.Parameter]:
    """The parameters to train; all others are frozen."""
    model.requires_grad_(False)
    found = [each for block in _blocks(model)[-blocks:] for each in block.parameters()]
    head = find_layer(model)
    found += list(head.parameters()) if head is not None else []
    for parameter in found:
        parameter.requires_grad_(True)
    return found


def _copied(parameters: Sequence[nn.Parameter]) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in parameters]


def _pixels(image: ImageInput) -> Any:
    if image.problem is not None:  # the file was changed since its features were computed
        raise image.problem
    return image.pixels
