"""Verdicts: label and action of a score under a policy."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nsfw_app.records import Action, Category, CategoryRule, Label, Policy, Verdict
from nsfw_app.rules.policy import judge

CASES = json.loads((Path(__file__).parents[1] / "support/verdict_cases.json").read_text())
POLICY = Policy(threshold=0.5, review_from=0.2, review_to=0.8)
scores = st.floats(0, 1)
policies = (
    st.lists(scores, min_size=3, max_size=3)
    .map(sorted)
    .map(lambda numbers: Policy(review_from=numbers[0], threshold=numbers[1], review_to=numbers[2]))
)
reproducible = settings(max_examples=300, deadline=None, derandomize=True, database=None)


def below(score: float) -> float:
    """The largest float below a score."""
    return math.nextafter(score, 0)


@pytest.mark.parametrize(
    ("score", "label", "action"),
    [
        (0.0, Label.NORMAL, Action.ALLOW),
        (below(0.2), Label.NORMAL, Action.ALLOW),
        (0.2, Label.NORMAL, Action.REVIEW),
        (below(0.5), Label.NORMAL, Action.REVIEW),
        (0.5, Label.NSFW, Action.REVIEW),
        (below(0.8), Label.NSFW, Action.REVIEW),
        (0.8, Label.NSFW, Action.BLOCK),
        (1.0, Label.NSFW, Action.BLOCK),
    ],
)
def test_boundaries_belong_to_the_upper_range(score: float, label: Label, action: Action) -> None:
    """A score on a boundary is above it, and the next lower float is below."""
    assert judge(score, POLICY) == Verdict(label, action)


def test_no_score_is_unavailable() -> None:
    """Without a score there is no label, and the action is never allow."""
    assert judge(None, POLICY) == Verdict(None, Action.UNAVAILABLE)


@pytest.mark.parametrize(
    ("score", "action"),
    [(0.0, Action.REVIEW), (0.3, Action.REVIEW), (0.9, Action.BLOCK), (None, Action.UNAVAILABLE)],
)
def test_missing_pixels_are_never_allowed(score: float | None, action: Action) -> None:
    """The action of an incomplete image is at least review; its label follows the score."""
    verdict = judge(score, POLICY, incomplete=True)
    assert verdict.action is action
    assert verdict.label is judge(score, POLICY).label


def test_a_score_of_zero_is_a_score() -> None:
    """The lowest score has a verdict and is not treated as a missing one."""
    assert judge(0.0, POLICY).action is Action.ALLOW


@pytest.mark.parametrize(("score", "action"), [(0.4, Action.ALLOW), (0.5, Action.BLOCK)])
def test_an_empty_band_leaves_no_score_for_review(score: float, action: Action) -> None:
    """Where band and threshold are one number, every score is allowed or blocked."""
    assert judge(score, Policy(threshold=0.5, review_from=0.5, review_to=0.5)).action is action


@reproducible
@given(scores, scores, policies)
def test_verdicts_are_monotonic_in_the_score(one: float, other: float, policy: Policy) -> None:
    """Label and action only get stricter as the score rises."""
    labels, actions = [Label.NORMAL, Label.NSFW], [Action.ALLOW, Action.REVIEW, Action.BLOCK]
    low, high = judge(min(one, other), policy), judge(max(one, other), policy)
    assert labels.index(low.label) <= labels.index(high.label)
    assert actions.index(low.action) <= actions.index(high.action)


@reproducible
@given(scores, policies)
def test_what_is_allowed_is_normal_and_what_is_blocked_is_nsfw(
    score: float, policy: Policy
) -> None:
    """Label and action never contradict each other, under any policy."""
    verdict = judge(score, policy)
    assert verdict.action is not Action.UNAVAILABLE
    assert (verdict.action, verdict.label) not in {
        (Action.ALLOW, Label.NSFW),
        (Action.BLOCK, Label.NORMAL),
    }


@pytest.mark.parametrize("case", CASES["cases"], ids=str)
def test_verdicts_are_those_of_the_page(case: dict[str, Any]) -> None:
    """Python gives the verdicts that tests/js/policy.test.js expects of the page's copy."""
    numbers = dict(CASES["policies"][case["policy"]])
    rules = tuple(
        CategoryRule(Category(rule["category"]), rule["threshold"], Action(rule["action"]))
        for rule in numbers.pop("category_rules", [])
    )
    verdict = judge(
        case["nsfw_score"],
        Policy(**numbers, category_rules=rules),
        incomplete=case.get("incomplete", False),
        is_unjudged=not case.get("detail"),
        categories={Category(name): p for name, p in (case.get("categories") or {}).items()},
    )
    assert verdict == Verdict(case["label"] and Label(case["label"]), Action(case["action"]))
