"""Measures on a labeled set: values by other libraries, intervals, paired comparisons."""

import numpy as np
import pytest
from sklearn import metrics

from nsfw_app.evidence import evaluation
from nsfw_app.evidence.evaluation import Measured, compare, evaluate

THRESHOLDS = (0.5, 0.2)


def labeled(seed: int, images: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Scores and labels of a model with some mistakes."""
    rng = np.random.default_rng(seed)
    unsafe = rng.random(images) < 0.3
    return np.where(unsafe, rng.beta(4, 2, images), rng.beta(1, 4, images)), unsafe


def test_values_are_those_of_scikit_learn() -> None:
    """Accuracy, balanced accuracy, AUROC, average precision and the Brier score agree."""
    scores, unsafe = labeled(1)
    found = evaluate(scores, unsafe, thresholds=THRESHOLDS)
    labels = scores >= 0.5
    expected = {
        "accuracy": metrics.accuracy_score(unsafe, labels),
        "balanced_accuracy": metrics.balanced_accuracy_score(unsafe, labels),
        "auroc": metrics.roc_auc_score(unsafe, scores),
        "average_precision": metrics.average_precision_score(unsafe, scores),
        "brier": metrics.brier_score_loss(unsafe, scores),
        "recall@0.5": metrics.recall_score(unsafe, labels),
        "recall@0.2": metrics.recall_score(unsafe, scores >= 0.2),
        "false_positive_rate@0.2": (scores >= 0.2)[~unsafe].mean(),
    }
    for name, value in expected.items():
        measured = found.measures[name]
        assert measured.value == pytest.approx(value), name
        assert measured.lower < measured.value < measured.upper, name
    assert (found.images, found.unsafe) == (400, unsafe.sum())
    assert 0 < found.measures["ece"].value < 1


def test_the_interval_covers_the_truth(monkeypatch: pytest.MonkeyPatch) -> None:
    """In 40 sets the interval of the Brier score contains the true one in about 95 %."""
    monkeypatch.setattr(evaluation, "RESAMPLES", 50)
    scores, unsafe = labeled(0, 200_000)
    truth = np.mean((scores - unsafe) ** 2)
    intervals = [evaluate(*labeled(n + 1), thresholds=[0.5]).measures["brier"] for n in range(40)]
    assert sum(found.lower <= truth <= found.upper for found in intervals) >= 33


def test_a_difference_of_calibration_errors_lies_in_its_interval() -> None:
    """It is that of the corrected values; two models that are right do not seem to differ."""
    rng = np.random.default_rng(6)
    for _ in range(5):
        first = rng.beta(0.6, 1.5, 300)
        unsafe = rng.random(300) < first
        second = np.clip(first + rng.normal(0, 0.01, 300), 0, 1)
        found = compare(first, second, unsafe, thresholds=[0.5]).measures["ece"]
        own = [evaluate(each, unsafe, thresholds=[0.5]).measures["ece"] for each in (first, second)]
        assert found.value == pytest.approx(own[1].value - own[0].value)
        assert found.lower <= found.value <= found.upper
        assert own[0].lower == 0


def test_one_label_leaves_measures_undefined() -> None:
    """Without safe images there is no AUROC and no false positive rate."""
    found = evaluate(np.array([0.2, 0.9]), np.array([True, True]), thresholds=[0.5])
    nothing = Measured(None, None, None)
    assert found.measures["auroc"] == found.measures["false_positive_rate@0.5"] == nothing
    assert found.measures["accuracy"].value == 0.5


def test_models_are_compared_on_the_same_images() -> None:
    """A better model is found with far fewer images than its own interval would need."""
    scores, unsafe = labeled(2)
    better = np.where(unsafe, np.minimum(1, scores + 0.15), scores)
    found = compare(scores, better, unsafe, thresholds=THRESHOLDS)
    assert found.measures["recall@0.5"].lower > 0
    assert found.only_first == 0
    assert found.only_second == ((better >= 0.5) & (scores < 0.5)).sum()
    assert found.p_value == pytest.approx(2 * 0.5**found.only_second)
    same = compare(scores, scores, unsafe, thresholds=THRESHOLDS)
    assert (same.p_value, same.measures["accuracy"]) == (1.0, Measured(0.0, 0.0, 0.0))


def test_models_are_compared_at_their_own_policies() -> None:
    """Each is labeled at its own threshold, and the measures at them are named after the policy."""
    scores, unsafe = labeled(3)
    found = compare(
        scores, scores / 2, unsafe, thresholds=(0.5, 0.1), second_thresholds=(0.25, 0.1)
    )
    assert (found.p_value, found.measures["accuracy"]) == (1.0, Measured(0.0, 0.0, 0.0))
    assert found.measures["recall@policy"].value == 0
    assert found.measures["recall@0.1"].value < 0
    with pytest.raises(ValueError, match="2 thresholds, the other 1"):
        compare(scores, scores, unsafe, thresholds=(0.5, 0.1), second_thresholds=(0.5,))


def test_a_rate_of_nothing_is_not_certain() -> None:
    """None of five found does not show that none ever is; an accuracy of 1 may be lower."""
    scores, unsafe = np.array([0.1] * 5 + [0.2] * 20), np.array([True] * 5 + [False] * 20)
    found = evaluate(scores, unsafe, thresholds=[0.5]).measures
    recall, false_positives = found["recall@0.5"], found["false_positive_rate@0.5"]
    assert (recall.value, recall.lower) == (0, 0)
    assert recall.upper == pytest.approx(0.434, abs=0.001)
    assert false_positives.upper == pytest.approx(0.161, abs=0.001)
    perfect = evaluate(np.array([0.1, 0.9]), np.array([False, True]), thresholds=[0.5]).measures
    assert perfect["accuracy"].lower == pytest.approx(0.342, abs=0.001)


def test_tied_scores_are_one_threshold() -> None:
    """AUROC and average precision agree with scikit-learn where scores repeat."""
    scores, unsafe = labeled(4)
    rounded = np.round(scores, 1)
    found = evaluate(rounded, unsafe, thresholds=[0.5]).measures
    assert found["auroc"].value == pytest.approx(metrics.roc_auc_score(unsafe, rounded))
    expected = metrics.average_precision_score(unsafe, rounded)
    assert found["average_precision"].value == pytest.approx(expected)


def test_bad_sets_are_refused() -> None:
    """Different lengths, scores out of range and empty sets."""
    for scores, unsafe, words in (
        ([0.5], [True, False], "shape"),
        ([1.5], [True], "between 0 and 1"),
        ([], [], "no image"),
    ):
        with pytest.raises(ValueError, match=words):
            evaluate(np.array(scores), np.array(unsafe), thresholds=[0.5])


def test_a_few_images_make_nothing_certain() -> None:
    """Exact intervals are wide; where only a bootstrap is known, there is none."""
    one = evaluate(np.array([0.012]), np.array([True]), thresholds=[0.5]).measures
    assert one["brier"] == Measured(pytest.approx(0.976, abs=0.001), None, None)
    assert one["ece"].lower is None
    assert one["recall@0.5"].upper == pytest.approx(0.793, abs=0.001)
    scores, unsafe = np.append(np.full(16, 0.1), np.full(16, 0.2)), np.arange(32) >= 16
    few = evaluate(scores, unsafe, thresholds=[0.5]).measures
    balanced = few["balanced_accuracy"]
    assert (balanced.value, few["auroc"].value) == (0.5, 1.0)
    assert balanced.lower == pytest.approx(0.4, abs=0.02)
    assert balanced.upper == pytest.approx(0.6, abs=0.02)
    assert 0.75 < few["auroc"].lower < 0.95
    assert few["auroc"].upper == 1.0
    pair = compare(np.array([0.1, 0.9]), np.array([0.2, 0.8]), unsafe[15:17], thresholds=[0.5])
    assert pair.measures["brier"].value is not None
    assert pair.measures["brier"].lower is None


def test_intervals_of_small_sets_cover_the_truth() -> None:
    """With 12 unsafe and 28 safe images, AUROC and balanced accuracy are in theirs in 93 %."""
    whole, labels = labeled(0, 200_000)
    truth = {
        "auroc": metrics.roc_auc_score(labels, whole),
        "balanced_accuracy": metrics.balanced_accuracy_score(labels, whole >= 0.5),
    }
    rng, runs = np.random.default_rng(5), 300
    covered = dict.fromkeys(("auroc", "balanced_accuracy"), 0)
    for _ in range(runs):
        chosen = np.concatenate(
            [rng.choice(np.flatnonzero(labels), 12), rng.choice(np.flatnonzero(~labels), 28)]
        )
        scores, unsafe = whole[chosen], labels[chosen]
        found = {
            "auroc": evaluation._exact(
                "auroc", metrics.roc_auc_score(unsafe, scores), scores, unsafe, policy=0.5
            ),
            "balanced_accuracy": evaluation._exact(
                "balanced_accuracy",
                metrics.balanced_accuracy_score(unsafe, scores >= 0.5),
                scores,
                unsafe,
                policy=0.5,
            ),
        }
        for name, measured in found.items():
            covered[name] += measured.lower <= truth[name] <= measured.upper
    assert min(covered.values()) / runs >= 0.93 - 2 * np.sqrt(0.05 * 0.95 / runs), covered
