"""Verdicts: label and action of a score under a policy. No I/O.

- `nsfw` from the threshold upwards; `block` from `review_to` upwards; `allow` strictly below
  `review_from`; `review` between.
- No score is `unavailable`.
- An image with missing pixels is never `allow`: the score does not cover them.
"""

from nsfw_app.records import Action, Label, Policy, Verdict


def judge(score: float | None, policy: Policy, *, incomplete: bool = False) -> Verdict:
    """The verdict of an nsfw score under a policy.

    Args:
        score: Probability in [0, 1], or None when there is no prediction.
        policy: Threshold and review band.
        incomplete: Pixels of the image are missing; the action is then at least review.

    Returns:
        Label and action; without a score, no label and `unavailable`.
    """
    if score is None:
        return Verdict()
    label = Label.NSFW if score >= policy.threshold else Label.NORMAL
    if score >= policy.review_to:
        return Verdict(label, Action.BLOCK)
    allowed = score < policy.review_from and not incomplete
    return Verdict(label, Action.ALLOW if allowed else Action.REVIEW)
