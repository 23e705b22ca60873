"""Agreement measures and confusion counts: published values, None where not defined."""

import krippendorff
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from nsfw_app.evidence import metrics
from nsfw_app.evidence.metrics import NO_LABEL, Share

N = NO_LABEL


def test_alpha_of_the_published_example() -> None:
    """Krippendorff's own example for nominal data, three observers, gives his 0.691."""
    labels = np.array(
        [
            [N, N, N, N, N, 3, 4, 1, 2, 1, 1, 3, 3, N, 3],
            [1, N, 2, 1, 3, 3, 4, 3, N, N, N, N, N, N, N],
            [N, N, 2, 1, 3, 4, 4, N, 2, 1, 1, 3, 3, N, 4],
        ]
    )
    alpha = metrics.krippendorff_alpha(labels)
    assert alpha.value == pytest.approx(0.691, abs=5e-4)
    assert (alpha.same, alpha.images) == (Share(12, 16), 12)


def test_kappa_of_a_worked_example() -> None:
    """Fifty images, 35 alike: observed .70, expected .50, kappa .40."""
    first = np.repeat([0, 0, 1, 1], [20, 5, 10, 15])
    second = np.repeat([0, 1, 0, 1], [20, 5, 10, 15])
    kappa = metrics.cohen_kappa(first, second)
    assert kappa.value == pytest.approx(0.4)
    assert (kappa.same, kappa.images) == (Share(35, 50), 50)


@pytest.mark.parametrize(
    ("labels", "same", "images"),
    [
        (np.zeros((0, 0), dtype=np.int8), Share(0, 0), 0),
        (np.array([[0, 1, 0]]), Share(0, 0), 0),
        (np.array([[0, 1, N, N], [N, N, 1, 0]]), Share(0, 0), 0),
        (np.array([[0, 0, 0], [0, 0, 1]])[:, :2], Share(2, 2), 2),
        (np.array([[0, 0, 1], [0, 0, N]]), Share(2, 2), 2),
    ],
)
def test_alpha_is_none_without_shared_images_or_a_second_label(
    labels: np.ndarray, same: Share, images: int
) -> None:
    """Alpha is None with the counts there are; images with one label do not count."""
    alpha = metrics.krippendorff_alpha(labels)
    assert (alpha.value, alpha.same, alpha.images) == (None, same, images)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("first", "second", "same"),
    [([N, 0], [0, N], Share(0, 0)), ([0, 0, 1], [0, 0, N], Share(2, 2)), ([], [], Share(0, 0))],
)
def test_kappa_is_none_without_shared_images_or_a_second_label(
    first: list[int], second: list[int], same: Share
) -> None:
    """Kappa is None as well, and no library warns."""
    kappa = metrics.cohen_kappa(np.array(first, dtype=np.int8), np.array(second, dtype=np.int8))
    assert (kappa.value, kappa.same, kappa.images) == (None, same, same.whole)


def test_kappa_needs_labels_of_the_same_images() -> None:
    """Different shapes are refused with both shapes."""
    with pytest.raises(ValueError, match=r"\(2,\) and \(3,\)"):
        metrics.cohen_kappa(np.zeros(2), np.zeros(3))


@settings(deadline=None)  # the first example imports the libraries
@given(st.lists(st.lists(st.integers(N, 2), min_size=6, max_size=6), min_size=2, max_size=4))
def test_agreement_does_not_depend_on_the_order_of_reviewers(rows: list[list[int]]) -> None:
    """Alpha and kappa are at most 1, exactly 1 when all pairs agree, and symmetric."""
    labels = np.array(rows)
    alpha = metrics.krippendorff_alpha(labels)
    assert metrics.krippendorff_alpha(labels[::-1]) == alpha
    if alpha.value is not None:
        assert alpha.value <= 1 + 1e-9
        assert (abs(alpha.value - 1) < 1e-9) == (alpha.same.part == alpha.same.whole)
    kappa = metrics.cohen_kappa(labels[0], labels[1])
    turned = metrics.cohen_kappa(labels[1], labels[0])
    assert kappa.same == turned.same
    if kappa.value is not None:
        assert kappa.value == pytest.approx(turned.value)
        assert -1 - 1e-9 <= kappa.value <= 1 + 1e-9


@given(st.lists(st.lists(st.integers(N, 2), min_size=9, max_size=9), min_size=2, max_size=4))
def test_agreement_is_what_the_libraries_compute(rows: list[list[int]]) -> None:
    """Alpha equals that of `krippendorff`, kappa that of scikit-learn, wherever both exist."""
    labels = np.array(rows)
    alpha = metrics.krippendorff_alpha(labels)
    if alpha.value is not None:
        given_labels = np.where(labels == N, np.nan, labels)
        expected = krippendorff.alpha(given_labels, level_of_measurement="nominal")
        assert alpha.value == pytest.approx(expected)
    kappa = metrics.cohen_kappa(labels[0], labels[1])
    if kappa.value is not None:
        both = (labels[0] != N) & (labels[1] != N)
        assert kappa.value == pytest.approx(cohen_kappa_score(labels[0][both], labels[1][both]))


def test_confusion_counts_each_image_once() -> None:
    """A score at the threshold is nsfw; precision and recall carry their counts."""
    labels = np.array([1, 1, 1, 0, 0, 0])
    scores = np.array([0.9, 0.5, 0.1, 0.8, 0.2, 0.0])
    counts = metrics.confusion(labels, scores, threshold=0.5)
    assert counts == metrics.Confusion(2, 1, 2, 1)
    assert (counts.precision, counts.recall) == (Share(2, 3), Share(2, 3))
    assert metrics.confusion(np.array([]), np.array([]), threshold=0.5).recall.value is None


@pytest.mark.parametrize(
    ("labels", "scores", "complaint"),
    [([1, 0], [0.5], "shape"), ([1], [1.5], "between"), ([1], [float("nan")], "between")],
)
def test_confusion_refuses_invalid_scores(
    labels: list[int], scores: list[float], complaint: str
) -> None:
    """Shapes must match and scores be probabilities."""
    with pytest.raises(ValueError, match=complaint):
        metrics.confusion(np.array(labels), np.array(scores), threshold=0.5)


@pytest.mark.parametrize(
    ("part", "whole", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilsons_interval_is_the_published_one(
    part: int, whole: int, low: float, high: float
) -> None:
    """Newcombe's (1998) table of the score method without correction, to four places."""
    assert metrics.wilson_interval(Share(part, whole)) == pytest.approx((low, high), abs=6e-5)


def test_an_empty_total_has_no_share() -> None:
    """A total of 0 has neither a share nor an interval."""
    assert Share(0, 0).value is None
    assert metrics.wilson_interval(Share(0, 0)) is None
