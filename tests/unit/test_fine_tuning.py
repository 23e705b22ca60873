"""Fine-tuning: only the last blocks change, the best epoch is kept, and the seed decides."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from nsfw_app.dataset_errors import TrainingError
from nsfw_app.errors import ImageError
from nsfw_app.models.backends.pytorch import TransformersBackend
from nsfw_app.models.training import fine_tuning
from nsfw_app.models.training.fine_tuning import (
    FineTuning,
    TrainingData,
    check_blocks,
    fine_tune,
)
from nsfw_app.models.training.head import Head, log_odds
from nsfw_app.models.training.regression import class_weights
from tests.support.architectures import architectures, saved
from tests.support.tiny_vit import tinted_image, torch_backend, trained
from tests.support.training_sets import meadow

COUNT = 48


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> TransformersBackend:
    """The trained model."""
    return torch_backend(trained(tmp_path_factory))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    """Orange images, which are nsfw, and meadows, which the model takes for them."""
    directory = tmp_path_factory.mktemp("images")
    paths = []
    for number in range(COUNT):
        make = meadow if number % 2 else tinted_image
        path = directory / f"{number}.png"
        make(0.8, seed=number).save(path)
        paths.append(path)
    unsafe = np.arange(COUNT) % 2 == 0
    return TrainingData(paths, unsafe, np.arange(COUNT) // 2, np.ones(COUNT), level=0)


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few epochs, with a learning rate for so small a model."""
    monkeypatch.setattr(fine_tuning, "MAX_EPOCHS", 3)
    monkeypatch.setattr(fine_tuning, "LEARNING_RATE", 3e-3)


def tuned(vit: TransformersBackend, data: TrainingData, **options: Any) -> tuple[Any, FineTuning]:
    """A copy of the model whose last block was trained, and how."""
    model = copy.deepcopy(vit.model)
    values: dict[str, Any] = {"blocks": 1, "seed": 0, "threads": 1} | options
    return model, fine_tune(model, vit, data, progress=lambda _: None, **values)


def test_only_the_last_blocks_and_the_head_change(
    vit: TransformersBackend, data: TrainingData
) -> None:
    """And the validation loss falls."""
    model, found = tuned(vit, data)
    before = vit.model.state_dict()
    changed = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    assert changed
    assert all("layers.1." in k or "layer.1." in k or k.startswith("classifier") for k in changed)
    assert any(not k.startswith("classifier") for k in changed)
    assert found.losses[found.best_epoch] == min(found.losses) < found.losses[0]
    assert found.validation_images == pytest.approx(COUNT / fine_tuning.PARTS, abs=3)


def test_rare_labels_weigh_as_much_with_the_level_of_that(
    vit: TransformersBackend, data: TrainingData
) -> None:
    """The loss is weighted, and the level of the current model is added to its log-odds."""
    labels, weights = np.arange(COUNT) % 6 == 0, np.where(np.arange(COUNT) % 4, 1.0, 3.0)
    _, found = tuned(vit, replace(data, unsafe=labels, weights=weights, level=1.5))
    _, chosen = replace(data, unsafe=labels).split(seed=0)
    pixels = np.stack([vit.prepare(Image.open(data.paths[i])) for i in chosen])
    head = Head(vit)
    odds = log_odds(head.compute(pixels)[1], head.unsafe) + 1.5
    losses = np.logaddexp(0, np.where(labels[chosen], -odds, odds))
    expected = (class_weights(labels, weights)[chosen] * losses).mean()
    assert found.losses[0] == pytest.approx(expected, rel=1e-4)


def test_near_duplicates_are_in_one_part(data: TrainingData) -> None:
    """No group is both fitted to and used for validation."""
    fitted, validation = data.split(seed=3)
    assert not set(data.groups[fitted]) & set(data.groups[validation])
    assert len(fitted) + len(validation) == COUNT


def test_the_same_seed_gives_the_same_model(vit: TransformersBackend, data: TrainingData) -> None:
    """Another seed gives another one."""
    losses = [tuned(vit, data, seed=seed)[1].losses for seed in (1, 1, 2)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)
    assert losses[0] != pytest.approx(losses[2], abs=1e-6)


def test_training_that_does_not_help_is_undone(
    vit: TransformersBackend, data: TrainingData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends after two epochs without a lower loss, with the weights from before."""
    fitted, validation = data.split(seed=0)
    monkeypatch.setattr(TrainingData, "split", lambda self, seed: (fitted, validation))
    monkeypatch.setattr(fine_tuning, "MAX_EPOCHS", 9)
    labels = data.unsafe.copy()
    labels[validation] = True  # as the model has it, and against what is fitted
    model, found = tuned(vit, replace(data, unsafe=labels))
    assert found.best_epoch == 0
    assert len(found.losses) == 1 + fine_tuning.PATIENCE
    before = vit.model.state_dict()
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_more_blocks_than_the_model_has_are_an_error(vit: TransformersBackend) -> None:
    """The message has their number."""
    check_blocks(vit, 2)
    with pytest.raises(TrainingError, match="has 2 encoder blocks, so 3 cannot be trained"):
        check_blocks(vit, 3)


@pytest.mark.parametrize("name", architectures())
def test_every_architecture_has_blocks(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Blocks, or stages of hierarchical models, are found."""
    check_blocks(torch_backend(saved(name, tmp_path_factory)), 1)


def test_a_file_that_was_damaged_since_is_an_error(
    vit: TransformersBackend, data: TrainingData, tmp_path: Path
) -> None:
    """Images are decoded in every epoch."""
    (tmp_path / "damaged.jpg").write_bytes(b"no image")
    paths = [tmp_path / "damaged.jpg"] * COUNT
    with pytest.raises(ImageError, match=r"damaged.jpg is not an image"):
        tuned(vit, replace(data, paths=paths))
