"""Parity reports of optimized models."""

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


@pytest.mark.parametrize(
    ("views", "changed", "passed"),
    [(200, 0, True), (200, 1, True), (200, 2, False), (199, 1, False), (600, 3, True),
     (384, 1, True), (384, 2, False), (1000, 5, True), (1000, 6, False)],
)  # fmt: skip
def test_half_a_percent_of_labels_may_change(views: int, changed: int, passed: bool) -> None:
    """At 0.5 % a model passes, above it does not."""
    original = [0.45] * views
    optimized = [0.55] * changed + [0.45] * (views - changed)
    report = compare(original, optimized, POLICY)
    assert report.changed_labels == changed / views
    assert report.changed_count == changed
    assert (report.changed_count <= report.max_changed_count) == report.passed == passed
    assert report.passed == (report.changed_labels <= MAX_CHANGED)
    assert MAX_CHANGED == 0.005


def test_the_summary_is_true_at_the_limit() -> None:
    """Counts cannot round to the limit: 2 of 384 is over 0.5 %, in both figures."""
    report = compare([0.45] * 384, [0.55] * 2 + [0.45] * 382, POLICY, images=64)
    assert not report.passed
    assert "2 of 384 labels change (at most 1 may)" in report.summary()
    assert "and 0 of 384 actions." in report.summary()


def test_the_summary_rounds_no_difference_down() -> None:
    """No score differs by more than the figure after "at most", and the threshold is exact."""
    policy = Policy(threshold=0.327, review_from=0.2, review_to=0.8)
    summary = compare([0.1, 0.2], [0.10002, 0.2], policy).summary()
    assert "differ by at most 0.0001 and by 0.0000 on average" in summary
    assert "At threshold 0.327, " in summary


def test_changes_near_the_threshold_are_counted_apart() -> None:
    """A label that changes between two scores near the threshold does not fail a report."""
    report = compare([0.495, 0.495, 0.3, 0.9], [0.505, 0.495, 0.3, 0.9], POLICY)
    assert (report.changed_labels, report.changed_near) == (0, 0.25)
    assert report.passed
    assert "0 of 4 labels change (at most 0 may), another 1 between scores" in report.summary()
    assert NEAR == 0.01


@pytest.mark.parametrize("optimized", [0.52, 0.9])
def test_only_labels_between_two_near_scores_are_noise(optimized: float) -> None:
    """A changed label counts if one of its scores is not near the threshold."""
    assert not compare([0.495], [optimized], POLICY).passed
    assert not compare([optimized], [0.495], POLICY).passed


def test_an_empty_report_does_not_pass() -> None:
    """A model that was not compared is not verified."""
    assert not NOT_COMPARED.passed


@pytest.mark.parametrize(
    ("original", "optimized"),
    [([], []), ([0.1], [0.1, 0.2]), ([0.1], [math.nan]), ([1.1], [0.1]), ([0.1], [-0.1])],
)
def test_invalid_scores_are_refused(original: list[float], optimized: list[float]) -> None:
    """Different lengths, no scores, and numbers outside [0, 1]."""
    with pytest.raises(ValueError, match="score"):
        compare(original, optimized, POLICY)


@pytest.mark.parametrize(
    ("images", "beginning"),
    [
        (2, "Over 2 images, scores differ by at most 0.1000 and"),
        (1, "Over 2 views of 1 images, "),
        (0, "Over 2 views of images, "),
    ],
)
def test_the_summary_counts_views_and_images(images: int, beginning: str) -> None:
    """Views of an image are not counted as images."""
    assert compare([0.1, 0.6], [0.2, 0.6], POLICY, images=images).summary().startswith(beginning)
