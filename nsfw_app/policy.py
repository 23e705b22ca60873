"""A score and a policy make a verdict. Pure: the same numbers always give the same answer.

The boundaries: `nsfw` from the threshold upwards, `block` from `review_to` upwards, `allow`
strictly below `review_from`, `review` between. No score means `unavailable`.
"""

from dataclasses import replace

from nsfw_app.records import Action, Label, Policy, Verdict


def judge(score: float | None, policy: Policy) -> Verdict:
    """The verdict on an nsfw score.

    Args:
        score: Probability in [0, 1], or None when there is no prediction.
        policy: The numbers to judge by.

    Returns:
        Label and action; without a score, no label and `unavailable`.
    """
    if score is None:
        return Verdict()
    label = Label.NSFW if score >= policy.threshold else Label.NORMAL
    if score >= policy.review_to:
        return Verdict(label, Action.BLOCK)
    return Verdict(label, Action.ALLOW if score < policy.review_from else Action.REVIEW)


def at_threshold(policy: Policy, threshold: float) -> Policy:
    """The policy with its threshold moved; the review band stretches to reach it.

    Args:
        policy: The policy in force.
        threshold: Probability in [0, 1].

    Raises:
        PolicyError: The threshold leaves [0, 1].
    """
    return replace(
        policy,
        threshold=threshold,
        review_from=min(policy.review_from, threshold),
        review_to=max(policy.review_to, threshold),
    )
