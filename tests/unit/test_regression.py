"""Logistic regression: rules, priors, weights, penalties, near duplicates, and noise."""

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import expit

from nsfw_app.evidence import paired_comparison
from nsfw_app.evidence.replacement import MIN_RIGHT, Outcome, compare_candidate
from nsfw_app.models.backends.pytorch import TransformersBackend
from nsfw_app.models.training.head import Head, log_odds, nsfw_scores
from nsfw_app.models.training.regression import (
    PENALTIES,
    best_level,
    class_weights,
    fit_head,
    fit_update,
    log_loss,
)
from tests.support.sampled_labels import Population, Sample, flipped
from tests.support.tiny_vit import prepared_images, torch_backend, trained

SEEDS = 20


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> TransformersBackend:
    """The trained model."""
    return torch_backend(trained(tmp_path_factory))


def examples(count: int, *, seed: int, features: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Features, and log-odds of a current model that knows the first of them."""
    x = np.random.default_rng(seed).normal(size=(count, features)).astype(np.float32)
    return x, 2 * x[:, 0].astype(float)


def test_a_rule_that_the_model_lacks_is_learned() -> None:
    """Labels that depend on a second feature, too: the loss on other images falls."""
    x, odds = examples(300, seed=0)
    unsafe = x[:, 0] + 2 * x[:, 1] > 0
    found = fit_head(x, odds, unsafe, np.arange(300), np.ones(300), seed=0)
    assert found.penalty in PENALTIES
    assert found.losses[found.penalty] == min(found.losses.values()) < found.current_loss / 2
    new, new_odds = examples(300, seed=1)
    moved = new_odds + new @ found.update.weights + found.update.bias
    assert ((moved > 0) == (new[:, 0] + 2 * new[:, 1] > 0)).mean() > 0.95


def test_the_penalty_is_toward_the_current_model() -> None:
    """With a strong penalty, and labels that agree with the model, nothing is added."""
    x, odds = examples(200, seed=2)
    update = fit_update(x, odds, odds > 0, np.ones(200), penalty=1e6)
    assert np.abs(x @ update.weights).max() < 1e-3


def test_the_scale_of_features_does_not_matter() -> None:
    """Features are standardized, and a constant one is ignored."""
    x, odds = examples(200, seed=3)
    unsafe = x[:, 1] > 0
    scaled = np.column_stack([x * 1_000 + 5, np.full(200, 3.0)]).astype(np.float32)
    first = fit_update(x, odds, unsafe, np.ones(200), penalty=0.1)
    second = fit_update(scaled, odds, unsafe, np.ones(200), penalty=0.1)
    expected = x @ first.weights + first.bias
    assert scaled @ second.weights + second.bias == pytest.approx(expected, abs=0.01)


def test_both_labels_weigh_the_same() -> None:
    """Also with one unsafe image in twenty, and where images have weights."""
    unsafe, weights = np.arange(200) < 10, np.where(np.arange(200) % 2, 1.0, 3.0)
    balanced = class_weights(unsafe, weights)
    assert balanced.mean() == pytest.approx(1)
    assert balanced[unsafe].sum() == pytest.approx(balanced[~unsafe].sum())
    assert balanced[0] == pytest.approx(3 * balanced[1])


@pytest.mark.parametrize("share", [0.05, 0.5, 0.8])
def test_the_weights_of_labels_move_no_score(share: float) -> None:
    """Labels drawn from the model's own log-odds, however rare one is, add nothing to it.

    The loss of the current model is hardly above that of the fitted one.
    """
    x = np.random.default_rng(6).normal(size=(4_000, 8)).astype(np.float32)
    odds = 3 * x[:, 0].astype(float)
    odds += brentq(lambda shift: expit(odds + shift).mean() - share, -20, 20)
    unsafe = np.random.default_rng(7).random(4_000) < expit(odds)
    found = fit_head(x, odds, unsafe, np.arange(4_000), np.ones(4_000), seed=0)
    moved = x @ found.update.weights + found.update.bias
    assert np.abs(moved).max() < 0.3
    assert abs(moved.mean()) < 0.15
    assert found.penalty >= 1
    assert found.current_loss == pytest.approx(found.losses[found.penalty], abs=0.01)


@pytest.mark.parametrize("share", [0.02, 0.3])
def test_a_model_that_is_right_keeps_its_threshold(share: float) -> None:
    """Its log-odds are as far from 0 on both sides, which fits to no share but a half.

    Labels that it explains, one of them rare, and features that are noise change no label.
    """
    unsafe = np.arange(1_000) < 1_000 * share
    odds = np.where(unsafe, 2.0, -2.0)
    x = np.random.default_rng(0).normal(size=(1_000, 6)).astype(np.float32)
    found = fit_head(x, odds, unsafe, np.arange(1_000), np.ones(1_000), seed=0)
    moved = x @ found.update.weights + found.update.bias
    assert ((odds + moved >= 0) == unsafe).all()
    assert abs(moved.mean()) < 0.1
    assert found.current_loss == pytest.approx(np.log1p(np.exp(-2)))


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_errors_are_learned_at_the_threshold_of_a_model(share: float) -> None:
    """As sure about one label as about the other, and wrong about every twentieth image.

    Most errors have a feature in common. They become fewer, and hardly any unsafe image is missed
    that was found before.
    """

    def sample(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        unsafe, wrong = rng.random(count) < share, rng.random(count) < 0.05
        odds = np.abs(rng.normal(5, 1.5, count)) * np.where(unsafe != wrong, 1, -1)
        x = rng.normal(size=(count, 16))
        x[:, 0] = odds / 5 + rng.normal(0, 0.1, count)
        common = wrong & (rng.random(count) < 0.8)
        x[:, 1] = rng.normal(0, 0.5, count) + 3 * common * np.where(unsafe, 1, -1)
        return x.astype(np.float32), odds, unsafe

    x, odds, unsafe = sample(2_000, 0)
    update = fit_head(x, odds, unsafe, np.arange(2_000), np.ones(2_000), seed=0).update
    x, odds, unsafe = sample(20_000, 1)
    before = (odds >= 0) == unsafe
    after = (odds + x @ update.weights + update.bias >= 0) == unsafe
    assert after.mean() > before.mean() + 0.02
    for label in (True, False):
        assert (before & ~after)[unsafe == label].mean() < 0.02


def test_errors_of_one_label_do_not_move_the_level() -> None:
    """All errors are safe images with a feature in common, and are learned.

    Of the other images, about as many are right as before: the errors had lowered the level.
    """

    def sample(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        unsafe = rng.random(count) < 0.5
        wrong = ~unsafe & (rng.random(count) < 0.2)
        odds = 2 * np.where(unsafe | wrong, 1, -1) + rng.normal(size=count)
        x = rng.normal(size=(count, 8))
        x[:, 0] += 3 * wrong
        return x.astype(np.float32), odds, unsafe, wrong

    x, odds, unsafe, _ = sample(2_000, 0)
    update = fit_head(x, odds, unsafe, np.arange(2_000), np.ones(2_000), seed=0).update
    x, odds, unsafe, wrong = sample(20_000, 1)
    before = (odds >= 0) == unsafe
    after = (odds + x @ update.weights + update.bias >= 0) == unsafe
    assert after[wrong].mean() > before[wrong].mean() + 0.5
    for label in (True, False):
        others = ~wrong & (unsafe == label)
        assert after[others].mean() > before[others].mean() - 0.06


@pytest.mark.parametrize("shift", [-3.0, 3.0])
def test_a_model_with_another_threshold_learns_the_same(shift: float) -> None:
    """Scores are moved, and the threshold of the policy with them: so is what is right."""
    rng = np.random.default_rng(2)
    unsafe = rng.random(600) < 0.3
    x = rng.normal(size=(600, 4)).astype(np.float32)
    odds = 2 * np.where(unsafe, 1, -1) + 2 * rng.normal(size=600)
    labeled = unsafe, np.ones(600)
    first = fit_update(x, odds, *labeled, penalty=0.1)
    moved = fit_update(x, odds + shift, *labeled, penalty=0.1, threshold=float(expit(shift)))
    assert moved.weights == pytest.approx(first.weights, abs=1e-4)
    assert moved.bias == pytest.approx(first.bias, abs=1e-4)
    unmoved = fit_update(x, odds + shift, *labeled, penalty=0.1)
    assert abs(unmoved.bias - first.bias) > 0.001


@pytest.mark.parametrize("size", [0.0, 1.0, 300.0, 1e30])
def test_the_level_has_the_lowest_loss(size: float) -> None:
    """Also where a model is right about nearly all images, sure of it, and a label is rare."""
    rng = np.random.default_rng(9)
    unsafe, weights = np.arange(500) < 25, rng.uniform(0.5, 4, 500)
    odds = size * (np.where(unsafe, 1.0, -3.0) + rng.normal(size=500))
    shares = class_weights(unsafe, weights)
    level = best_level(odds, unsafe, weights)
    lowest = log_loss(odds + level, unsafe, shares)
    assert all(
        log_loss(odds + level + step, unsafe, shares) >= lowest for step in (-9, -0.1, 0.1, 9)
    )


def test_a_group_is_learned_where_labels_are_rare() -> None:
    """A tenth is unsafe, and the model is wrong about a group of safe images.

    After the fit the false positive rate is lower, and recall is as before, at the same threshold.
    """

    def sample(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        unsafe = rng.random(2_400) < 0.1
        x = rng.normal(size=(2_400, 16))
        x[:, 0] += np.where(unsafe, 1.5, -1.5)
        bad = (rng.random(2_400) < 0.05) & ~unsafe
        x[:, 1] = 3 * bad
        return x.astype(np.float32), 3 * x[:, 0] + np.log(1 / 9) + 6 * bad, unsafe

    x, odds, unsafe = sample(0)
    found = fit_head(x, odds, unsafe, np.arange(2_400), np.ones(2_400), seed=0)
    x, odds, unsafe = sample(1)
    moved = odds + x @ found.update.weights + found.update.bias
    rates = [
        ((values >= 0)[unsafe].mean(), (values >= 0)[~unsafe].mean()) for values in (odds, moved)
    ]
    assert rates[1][0] == pytest.approx(rates[0][0], abs=0.05)
    assert rates[1][1] < 0.6 * rates[0][1]


def test_a_weight_is_a_number_of_copies() -> None:
    """Images with a weight of three are fitted as if they were there three times."""
    x, odds = examples(200, seed=4)
    unsafe = np.random.default_rng(8).random(200) < expit(x[:, 1])
    times = np.where(np.arange(200) % 3, 1, 3)
    copies = [np.repeat(each, times, axis=0) for each in (x, odds, unsafe)]
    weighted = fit_update(x, odds, unsafe, times.astype(float), penalty=0)
    repeated = fit_update(*copies, np.ones(times.sum()), penalty=0)
    first, second = (x @ each.weights + each.bias for each in (weighted, repeated))
    assert first == pytest.approx(second, abs=0.02)
    unweighted = fit_update(x, odds, unsafe, np.ones(200), penalty=0)
    assert np.abs(first - x @ unweighted.weights - unweighted.bias).max() > 0.2


def test_near_duplicates_are_in_one_fold() -> None:
    """Copies of noise are not learned by heart: the penalty stays strong."""
    rng = np.random.default_rng(5)
    x = np.repeat(rng.normal(size=(60, 30)), 5, axis=0).astype(np.float32)
    unsafe = np.repeat(rng.permutation(np.arange(60) < 30), 5)
    grouped = fit_head(x, np.zeros(300), unsafe, np.repeat(np.arange(60), 5), np.ones(300), seed=0)
    leaking = fit_head(x, np.zeros(300), unsafe, np.arange(300), np.ones(300), seed=0)
    assert grouped.penalty == PENALTIES[0]
    assert leaking.penalty < grouped.penalty
    assert leaking.losses[leaking.penalty] < 0.5 < grouped.losses[grouped.penalty]


def test_random_labels_never_make_a_better_model(
    vit: TransformersBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 20 seeds: also if the labels against the model count as corrections.

    So many images are held out that those that the model gets right would suffice for "better".
    """
    monkeypatch.setattr(paired_comparison, "RESAMPLES", 100)
    features, logits = Head(vit).compute(prepared_images(vit, 600))
    unsafe_labels = Head(vit).unsafe
    odds, scores = log_odds(logits, unsafe_labels), nsfw_scores(logits, unsafe_labels)
    outcomes = []
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        unsafe, order = rng.permutation(np.arange(600) < 300), rng.permutation(600)
        train, test = order[:80], order[80:]
        update = fit_head(
            features[train], odds[train], unsafe[train], train, np.ones(80), seed=seed
        ).update
        candidate = 1 / (1 + np.exp(-(odds + features @ update.weights + update.bias)))
        wrong = (scores >= 0.5) != unsafe
        for corrected in (wrong, np.zeros_like(wrong)):
            held_out = Sample(test, np.ones(520), corrected[test]).held_out(unsafe)
            found = compare_candidate(scores[test], candidate[test], held_out, threshold=0.5)
            outcomes.append(found.outcome)
            assert min(each.groups for each in found.negative_flips.values()) >= MIN_RIGHT
    assert Outcome.BETTER not in outcomes


@pytest.mark.parametrize("share", [0.02, 0.06])
def test_a_group_with_random_labels_never_makes_a_better_model(
    share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 5 seeds, where the labels against the model are twenty times as frequent as they occur.

    On the whole population, fits with sampling weights have a lower loss than those without.
    """
    monkeypatch.setattr(paired_comparison, "RESAMPLES", 100)
    losses = np.zeros(2)
    for seed in range(5):
        population = flipped(20_000, share, seed=seed)
        x, odds, unsafe = population.features, population.odds, population.unsafe
        train = population.sample(150, 350, seed=seed)
        test = population.sample(150, 350, seed=seed, skip=1)
        for number, weights in enumerate((train.weights, np.ones(500))):
            labeled = (x[train.chosen], odds[train.chosen], unsafe[train.chosen])
            update = fit_head(*labeled, train.chosen, weights, seed=0).update
            moved = odds + x @ update.weights + update.bias
            losses[number] += np.logaddexp(0, np.where(unsafe, -moved, moved)).mean()
            found = compare_candidate(
                Population.scores(odds[test.chosen]),
                Population.scores(moved[test.chosen]),
                test.held_out(unsafe),
                threshold=0.5,
            )
            assert found.outcome is not Outcome.BETTER
    assert losses[0] < losses[1]


@pytest.mark.parametrize("agreements", [0, 10, 100])
def test_errors_of_another_model_never_make_a_better_one(
    agreements: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model that was reviewed goes by a cue; labeled are its errors, and few agreements.

    The current model gets most of both right. What is learned is that the cue is wrong.
    """
    monkeypatch.setattr(paired_comparison, "RESAMPLES", 100)
    for seed in range(3):
        rng = np.random.default_rng(seed)
        unsafe, error = rng.random(20_000) < 0.5, rng.random(20_000) < 0.08
        sign = np.where(unsafe, 1, -1)
        x = rng.normal(size=(20_000, 16))
        x[:, 0] = np.where(error, -sign, sign) + rng.normal(0, 0.2, 20_000)
        x[:, 1] = sign * np.where(error, 1.2, 2.5) + rng.normal(size=20_000)
        odds = 2 * x[:, 1]
        reviewed = Population(x.astype(np.float32), np.where(error, -sign, sign), unsafe, error)
        train = reviewed.sample(1_000, agreements * 4 // 5, seed=seed)
        test = reviewed.sample(250, agreements // 5, seed=seed, skip=4)
        labeled = (reviewed.features[train.chosen], odds[train.chosen], unsafe[train.chosen])
        update = fit_head(*labeled, train.chosen, train.weights, seed=0).update
        moved = odds + x @ update.weights + update.bias
        found = compare_candidate(
            expit(odds)[test.chosen],
            expit(moved)[test.chosen],
            test.held_out(unsafe),
            threshold=0.5,
        )
        assert min(each.groups for each in found.negative_flips.values()) >= MIN_RIGHT
        assert found.outcome is not Outcome.BETTER


def test_a_group_that_is_wrong_makes_a_better_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Learned with the same weights, and shown to be better with them; it is right in the group."""
    monkeypatch.setattr(paired_comparison, "RESAMPLES", 100)
    population = flipped(20_000, 0.06, seed=0, wrong=1)
    x, odds, unsafe = population.features, population.odds, population.unsafe
    train = population.sample(300, 400, seed=0)
    test = population.sample(300, 400, seed=0, skip=1)
    labeled = (x[train.chosen], odds[train.chosen], unsafe[train.chosen])
    update = fit_head(*labeled, train.chosen, train.weights, seed=0).update
    moved = odds + x @ update.weights + update.bias
    found = compare_candidate(
        Population.scores(odds[test.chosen]),
        Population.scores(moved[test.chosen]),
        test.held_out(unsafe),
        threshold=0.5,
    )
    assert found.outcome is Outcome.BETTER
    assert ((moved >= 0) == unsafe)[population.group].mean() > 0.95
    assert ((moved >= 0) == unsafe).mean() > 0.98
