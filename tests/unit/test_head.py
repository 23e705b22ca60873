"""Heads of models: features, and updates."""

import numpy as np
import pytest
import torch

from nsfw_app.errors import ModelUnsupported, OutOfMemory, PredictionFailed
from nsfw_app.models.backends.pytorch import TransformersBackend
from nsfw_app.models.training.head import Head, HeadUpdate, log_odds, nsfw_scores, update_head
from tests.support.architectures import architectures, saved
from tests.support.tiny_vit import prepared_images, torch_backend, trained


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> TransformersBackend:
    """The trained model."""
    return torch_backend(trained(tmp_path_factory))


@pytest.mark.parametrize("name", architectures())
def test_features_are_what_the_head_receives(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """For ten architectures: adding a function of them to the head moves scores by just that."""
    model = torch_backend(saved(name, tmp_path_factory))
    head, batch = Head(model), prepared_images(model, 4)
    features, logits = head.compute(batch)
    assert features.shape == (4, head.shape[0])
    unsafe = 1
    assert nsfw_scores(logits, head.unsafe) == pytest.approx(
        model.score(batch)[:, unsafe], abs=1e-5
    )
    update = HeadUpdate(np.random.default_rng(0).normal(0, 0.01, head.shape[0]), 0.3)
    update_head(model.model, update, head.unsafe)
    moved = log_odds(logits, head.unsafe) + features @ update.weights + update.bias
    expected = 1 / (1 + np.exp(-moved))
    assert model.score(batch)[:, 1] == pytest.approx(expected, abs=1e-4)


def test_several_labels_of_a_role_keep_their_proportions() -> None:
    """The log-odds of unsafe labels move by the function, those among unsafe labels do not."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(8, 5)
    unsafe = np.array([False, True, False, True, True])
    features = np.random.default_rng(0).normal(size=(6, 8)).astype(np.float32)
    before = layer(torch.from_numpy(features)).detach().numpy()
    update = HeadUpdate(np.random.default_rng(1).normal(size=8), -0.7)
    update_head(torch.nn.Sequential(layer), update, unsafe)
    after = layer(torch.from_numpy(features)).detach().numpy()
    moved = log_odds(after, unsafe) - log_odds(before, unsafe)
    assert moved == pytest.approx(features @ update.weights + update.bias, abs=1e-5)
    assert after[:, 1] - after[:, 4] == pytest.approx(before[:, 1] - before[:, 4], abs=1e-5)
    assert after[:, ~unsafe] == pytest.approx(before[:, ~unsafe])


def test_half_precision_has_the_same_head(vit: TransformersBackend) -> None:
    """Features in bf16 differ from those in 32-bit floats by rounding only."""
    batch = prepared_images(vit, 8)
    features, _ = Head(vit).compute(batch)
    half, _ = Head(vit.to_half()).compute(batch)
    assert np.abs(features - half).max() < 0.05 * np.abs(features).max()


def test_a_model_without_a_linear_head_is_refused(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Logits that are not the output of the last linear layer cannot be updated."""
    model = torch_backend(trained(tmp_path_factory))
    model.model.classifier = torch.nn.Sequential(model.model.classifier, torch.nn.Tanh())
    with pytest.raises(ModelUnsupported, match="does not end with a linear layer"):
        Head(model)


@pytest.mark.parametrize(
    ("problem", "kind"),
    [("not enough memory: you tried to allocate", OutOfMemory), ("shapes", PredictionFailed)],
)
def test_a_model_that_fails_is_an_error(
    problem: str, kind: type[Exception], vit: TransformersBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if the memory is not enough."""

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError(problem)

    head, batch = Head(vit), prepared_images(vit, 2)
    monkeypatch.setattr(vit.model, "forward", fail)
    with pytest.raises(kind):
        head.compute(batch)
