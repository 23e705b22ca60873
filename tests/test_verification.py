"""The report that a faster network must pass."""

import json
import math

import pytest

from nsfw_app.records import Policy
from nsfw_app.verification import MAX_CHANGED, NOT_COMPARED, Report, compare

POLICY = Policy(threshold=0.5, review_from=0.2, review_to=0.8)


def test_differences_and_changes_are_counted() -> None:
    """One label of four changes, and with it and another the actions of two."""
    report = compare([0.1, 0.45, 0.79, 0.9], [0.1, 0.55, 0.81, 0.9], POLICY)
    assert report.images == 4
    assert report.largest_difference == pytest.approx(0.1)
    assert report.mean_difference == pytest.approx(0.03)
    assert (report.changed_labels, report.changed_actions) == (0.25, 0.25)
    assert (report.threshold, report.review_from, report.review_to) == (0.5, 0.2, 0.8)


@pytest.mark.parametrize(("changed", "passed"), [(0, True), (1, True), (2, False)])
def test_one_label_of_two_hundred_may_change(changed: int, passed: bool) -> None:
    """At 0.5 % a network passes, above it does not."""
    original = [0.49] * 200
    faster = [0.51] * changed + [0.49] * (200 - changed)
    report = compare(original, faster, POLICY)
    assert report.changed_labels == changed / 200
    assert report.passed is passed
    assert MAX_CHANGED == 0.005


def test_what_was_not_compared_has_not_passed() -> None:
    """Nothing compared is nothing proven."""
    assert not NOT_COMPARED.passed


@pytest.mark.parametrize(
    ("original", "faster"),
    [([], []), ([0.1], [0.1, 0.2]), ([0.1], [math.nan]), ([1.1], [0.1]), ([0.1], [-0.1])],
)
def test_what_cannot_be_compared(original: list[float], faster: list[float]) -> None:
    """Other lengths, none at all, and numbers that are no scores."""
    with pytest.raises(ValueError, match="score"):
        compare(original, faster, POLICY)


def test_a_report_comes_back_from_its_file() -> None:
    """Written as JSON and read again it is the same, and says the same."""
    report = compare([0.1, 0.6], [0.2, 0.6], POLICY)
    again = Report.from_json(json.loads(json.dumps(report.to_json())))
    assert again == report
    assert "2 photographs" in again.sentence()
    assert "0.1000 at most" in again.sentence()
