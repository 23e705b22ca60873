"""The parity report that an optimized model must pass."""

import math

import pytest

from nsfw_app.models.parity import MAX_CHANGED, NEAR, NOT_COMPARED, compare
from nsfw_app.records import Policy

POLICY = Policy(threshold=0.5, review_from=0.2, review_to=0.8)


def test_differences_and_changes_are_counted() -> None:
    """One label of four changes, and with it and another the actions of two."""
    report = compare([0.1, 0.45, 0.79, 0.9], [0.1, 0.55, 0.81, 0.9], POLICY, images=4)
    assert (report.images, report.views, report.threshold) == (4, 4, 0.5)
    assert report.largest_difference == pytest.approx(0.1)
    assert report.mean_difference == pytest.approx(0.03)
    assert (report.changed_labels, report.changed_near, report.changed_actions) == (0.25, 0, 0.25)


@pytest.mark.parametrize(("changed", "passed"), [(0, True), (1, True), (2, False)])
def test_one_label_of_two_hundred_may_change(changed: int, passed: bool) -> None:
    """At 0.5 % a model passes, above it does not."""
    original = [0.45] * 200
    optimized = [0.55] * changed + [0.45] * (200 - changed)
    report = compare(original, optimized, POLICY)
    assert report.changed_labels == changed / 200
    assert report.passed is passed
    assert MAX_CHANGED == 0.005


def test_changes_near_the_threshold_are_counted_apart() -> None:
    """A label that changes between two scores next to the threshold refuses no model."""
    report = compare([0.495, 0.495, 0.3, 0.9], [0.505, 0.495, 0.3, 0.9], POLICY)
    assert (report.changed_labels, report.changed_near) == (0, 0.25)
    assert report.passed
    assert "0.0% of labels change, another 25.0% between scores within 0.01" in report.summary()
    assert NEAR == 0.01


@pytest.mark.parametrize("optimized", [0.52, 0.9])
def test_a_score_that_moves_away_from_the_threshold_is_no_noise(optimized: float) -> None:
    """It is not enough that one of the two scores is near the threshold."""
    assert not compare([0.495], [optimized], POLICY).passed
    assert not compare([optimized], [0.495], POLICY).passed


def test_what_was_not_compared_has_not_passed() -> None:
    """Nothing compared is nothing proven."""
    assert not NOT_COMPARED.passed


@pytest.mark.parametrize(
    ("original", "optimized"),
    [([], []), ([0.1], [0.1, 0.2]), ([0.1], [math.nan]), ([1.1], [0.1]), ([0.1], [-0.1])],
)
def test_what_cannot_be_compared(original: list[float], optimized: list[float]) -> None:
    """Other lengths, none at all, and numbers that are no scores."""
    with pytest.raises(ValueError, match="score"):
        compare(original, optimized, POLICY)


@pytest.mark.parametrize(
    ("images", "beginning"),
    [
        (2, "Over 2 images, scores differ by 0.1000 at most"),
        (1, "Over 2 views of 1 images, "),
        (0, "Over 2 views of images, "),
    ],
)
def test_the_report_says_what_was_compared(images: int, beginning: str) -> None:
    """Views of an image are not counted as images."""
    assert compare([0.1, 0.6], [0.2, 0.6], POLICY, images=images).summary().startswith(beginning)
