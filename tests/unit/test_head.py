"""Heads of models: features, updates, logistic regression, and labels that are noise."""

import numpy as np
import pytest
import torch

from nsfw_app.errors import ModelUnsupported, OutOfMemory, PredictionFailed
from nsfw_app.evidence import replacement
from nsfw_app.evidence.replacement import MIN_ELSEWHERE, HeldOut, Outcome, compare_candidate
from nsfw_app.models.backends.pytorch import TransformersBackend
from nsfw_app.models.training.head import Head, HeadUpdate, log_odds, nsfw_scores, update_head
from nsfw_app.models.training.regression import (
    PENALTIES,
    balanced_log_loss,
    fit_head,
    fit_update,
)
from tests.support.architectures import architectures, saved
from tests.support.tiny_vit import tinted_image, torch_backend, trained

SEEDS = 20


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> TransformersBackend:
    """The trained model."""
    return torch_backend(trained(tmp_path_factory))


def inputs(model: TransformersBackend, count: int) -> np.ndarray:
    """Prepared images from blue to orange."""
    warmth = np.linspace(0, 1, count)
    return np.stack([model.prepare(tinted_image(w, seed=i)) for i, w in enumerate(warmth)])


@pytest.mark.parametrize("name", architectures())
def test_features_are_what_the_head_receives(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """For ten architectures: adding a function of them to the head moves scores by just that."""
    model = torch_backend(saved(name, tmp_path_factory))
    head, batch = Head(model), inputs(model, 4)
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
    batch = inputs(vit, 8)
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

    head, batch = Head(vit), inputs(vit, 2)
    monkeypatch.setattr(vit.model, "forward", fail)
    with pytest.raises(kind):
        head.compute(batch)


def examples(count: int, *, seed: int, features: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Features, and log-odds of a current model that knows the first of them."""
    x = np.random.default_rng(seed).normal(size=(count, features)).astype(np.float32)
    return x, 2 * x[:, 0].astype(float)


def test_a_rule_that_the_model_lacks_is_learned() -> None:
    """Labels that depend on a second feature, too: the loss on other images falls."""
    x, odds = examples(300, seed=0)
    unsafe = x[:, 0] + 2 * x[:, 1] > 0
    found = fit_head(x, odds, unsafe, np.arange(300), seed=0)
    assert found.penalty in PENALTIES
    assert found.losses[found.penalty] == min(found.losses.values()) < found.current_loss / 2
    new, new_odds = examples(300, seed=1)
    moved = new_odds + new @ found.update.weights + found.update.bias
    assert ((moved > 0) == (new[:, 0] + 2 * new[:, 1] > 0)).mean() > 0.95


def test_the_penalty_is_toward_the_current_model() -> None:
    """With a strong penalty, and labels that agree with the model, nothing is added."""
    x, odds = examples(200, seed=2)
    update = fit_update(x, odds, odds > 0, penalty=1e6)
    assert np.abs(x @ update.weights).max() < 1e-3


def test_the_scale_of_features_does_not_matter() -> None:
    """Features are standardized, and a constant one is ignored."""
    x, odds = examples(200, seed=3)
    unsafe = x[:, 1] > 0
    scaled = np.column_stack([x * 1_000 + 5, np.full(200, 3.0)]).astype(np.float32)
    first = fit_update(x, odds, unsafe, penalty=0.1)
    second = fit_update(scaled, odds, unsafe, penalty=0.1)
    expected = x @ first.weights + first.bias
    assert scaled @ second.weights + second.bias == pytest.approx(expected, abs=0.01)


def test_both_labels_weigh_the_same() -> None:
    """With one unsafe image in twenty, the loss of a score of one half is that of balanced ones."""
    unsafe = np.arange(200) < 10
    assert balanced_log_loss(np.zeros(200), unsafe) == pytest.approx(np.log(2))
    x = np.zeros((200, 3), np.float32)
    assert fit_update(x, np.zeros(200), unsafe, penalty=1).bias == pytest.approx(0, abs=1e-3)


def test_near_duplicates_are_in_one_fold() -> None:
    """Copies of noise are not learned by heart: the penalty stays strong."""
    rng = np.random.default_rng(5)
    x = np.repeat(rng.normal(size=(60, 30)), 5, axis=0).astype(np.float32)
    unsafe = np.repeat(rng.permutation(np.arange(60) < 30), 5)
    grouped = fit_head(x, np.zeros(300), unsafe, np.repeat(np.arange(60), 5), seed=0)
    leaking = fit_head(x, np.zeros(300), unsafe, np.arange(300), seed=0)
    assert grouped.penalty == PENALTIES[0]
    assert leaking.penalty < grouped.penalty
    assert leaking.losses[leaking.penalty] < 0.5 < grouped.losses[grouped.penalty]


def test_random_labels_never_make_a_better_model(
    vit: TransformersBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 20 seeds: also if the labels against the model count as corrections.

    So many images are held out that the others, without corrections, would suffice for "better".
    """
    monkeypatch.setattr(replacement, "RESAMPLES", 100)
    features, logits = Head(vit).compute(inputs(vit, 600))
    unsafe_labels = Head(vit).unsafe
    odds, scores = log_odds(logits, unsafe_labels), nsfw_scores(logits, unsafe_labels)
    outcomes = []
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        unsafe, order = rng.permutation(np.arange(600) < 300), rng.permutation(600)
        train, test = order[:80], order[80:]
        update = fit_head(features[train], odds[train], unsafe[train], train, seed=seed).update
        candidate = 1 / (1 + np.exp(-(odds + features @ update.weights + update.bias)))
        wrong = (scores >= 0.5) != unsafe
        for corrected in (wrong, np.zeros_like(wrong)):
            held_out = HeldOut(unsafe[test], test, corrected[test])
            found = compare_candidate(scores[test], candidate[test], held_out, threshold=0.5)
            outcomes.append(found.outcome)
        elsewhere = [int((unsafe[test] & ~wrong[test]).sum()), int((~(unsafe | wrong))[test].sum())]
        assert min(elsewhere) >= MIN_ELSEWHERE
    assert Outcome.BETTER not in outcomes
