"""Verdicts: label and action of a score under a policy. No I/O.

- `nsfw` from the threshold upwards; `block` from `review_to` upwards; `allow` strictly below
  `review_from`; `review` between.
- No score is `unavailable`.
- An image with missing pixels is never `allow`: the score does not cover them.
- Where the policy overrules what the score allows, neither is one that the detail model did not
  judge: it failed, or the image was stored before it was asked.
- The rules of categories make an action more severe, never less. What the score alone allows they
  change only where the policy overrules it.
"""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from nsfw_app.records import Action, Category, CategoryRule, Label, Policy, Verdict

SEVERITY = (Action.ALLOW, Action.REVIEW, Action.BLOCK)  # rising
NONE_JUDGED: Mapping[Category, float] = MappingProxyType({})


def judge(
    score: float | None,
    policy: Policy,
    *,
    incomplete: bool = False,
    is_unjudged: bool = False,
    categories: Mapping[Category, float] = NONE_JUDGED,
) -> Verdict:
    """The verdict of an nsfw score, and of probabilities of categories, under a policy.

    Args:
        score: Probability in [0, 1], or None when there is no prediction.
        policy: Threshold and review band.
        incomplete: Pixels of the image are missing, or a model that was asked failed; the action is
            then at least review.
        is_unjudged: No result of the detail model is known.
        categories: Probability in [0, 1] of each category that was judged.

    Returns:
        Label and action; without a score, no label and `unavailable`.
    """
    if score is None:
        return Verdict()
    label = Label.NSFW if score >= policy.threshold else Label.NORMAL
    if score >= policy.review_to:
        return Verdict(label, Action.BLOCK)
    unknown = incomplete or (is_unjudged and policy.overrules_allow)
    allowed = score < policy.review_from and not unknown
    action = Action.ALLOW if allowed else Action.REVIEW
    if allowed and not policy.overrules_allow:
        return Verdict(label, action)
    reached = [
        rule.action
        for rule in policy.category_rules
        if categories.get(rule.category, 0.0) >= rule.threshold
    ]
    return Verdict(label, max((action, *reached), key=SEVERITY.index))


def rules_json(rules: Iterable[CategoryRule]) -> list[dict[str, Any]]:
    """Rules of categories as JSON: objects with category, threshold and action."""
    return [
        {"category": rule.category, "threshold": rule.threshold, "action": rule.action}
        for rule in rules
    ]


def rules_of(values: Sequence[Mapping[str, Any]]) -> tuple[CategoryRule, ...]:
    """The rules that `rules_json` wrote.

    Raises:
        PolicyError: A threshold or an action is not allowed.
        KeyError, TypeError, ValueError: The values are no rules.
    """
    return tuple(
        CategoryRule(Category(each["category"]), each["threshold"], Action(each["action"]))
        for each in values
    )
