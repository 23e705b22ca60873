"""Whether a certificate covers the policy in force, and the sentence that says so."""

import pytest

from nsfw_app.evidence.estimates import Interval
from nsfw_app.evidence.guarantee import Certificate, NoForecast
from nsfw_app.evidence.html_page import percent, target_percent
from nsfw_app.evidence.policy_coverage import policy_coverage
from nsfw_app.records import Policy

CERTIFIED = Certificate(0.3, 0.96, None, 0.95, 0.9, 640, 0, NoForecast.CERTIFIED)
NONE = Certificate(None, None, 900, 0.95, 0.9, 640, 0, None)
RECALL = Interval(0.98, 0.96, 0.99, 50)
LOWER = Interval(0.82, 0.79, 0.86, 50)
UNKNOWN = Interval(None, 0.0, 1.0, 0)
ALARM = "The scores of recent images differ."


def policy(review_from: float) -> Policy:
    """Version 3, which allows images below a score."""
    return Policy(0.5, review_from, 0.8, version=3)


@pytest.mark.parametrize("recall", [RECALL, UNKNOWN])
@pytest.mark.parametrize("review_from", [0.2, 0.3])
def test_a_policy_within_the_certificate_is_covered(review_from: float, recall: Interval) -> None:
    """Up to the certified threshold itself, below which all is shown."""
    found = policy_coverage(CERTIFIED, policy(review_from), recall=recall)
    assert found.covers
    assert found.sentence == (
        "The certificate covers the policy in force, version 3, which allows images below "
        f"{review_from}."
    )


def test_a_policy_that_allows_nothing_needs_no_certificate() -> None:
    """Each image is seen by a person, or blocked."""
    found = policy_coverage(NONE, policy(0), recall=RECALL, doubts=[ALARM])
    assert found.covers
    assert found.sentence == ("The policy in force, version 3, allows no image without a person.")


@pytest.mark.parametrize(
    ("certificate", "review_from", "recall", "options", "sentence"),
    [
        (NONE, 0.2, RECALL, {}, "No certificate covers the policy in force, version 3, which "),
        (CERTIFIED, 0.31, RECALL, {}, " below 0.31. It reaches only up to 0.3."),
        (
            CERTIFIED,
            0.2,
            LOWER,
            {},
            "The estimated recall of this period is lower than the target: 82.0 % (79.0 to 86.0).",
        ),
        (CERTIFIED, 0.2, RECALL, {"doubts": [ALARM]}, f" below 0.2. {ALARM}"),
        (
            CERTIFIED,
            0.2,
            RECALL,
            {"source": "api"},
            " from api only; the policy is for all sources",
        ),
    ],
)
def test_each_doubt_leaves_a_policy_uncovered(
    certificate: Certificate,
    review_from: float,
    recall: Interval,
    options: dict[str, object],
    sentence: str,
) -> None:
    """No certificate, a higher number, a lower estimate, an alarm, one source only."""
    found = policy_coverage(
        certificate,
        policy(review_from),
        recall=recall,
        **options,  # type: ignore[arg-type]
    )
    assert not found.covers
    assert sentence in found.sentence


def test_shares_below_1_are_not_shown_as_1() -> None:
    """Targets have all of their digits; other shares as many as show that they are below 1."""
    shares = (0.95, 0.9999, 0.9567, 0.5)
    targets = [target_percent(share).replace("\u00a0", " ") for share in shares]
    assert targets == ["95.0 %", "99.99 %", "95.67 %", "50.0 %"]
    assert percent(0.99996).replace("\u00a0", " ") == "99.996 %"
    assert percent(1.0).replace("\u00a0", " ") == "100.0 %"
    assert percent(0.9567).replace("\u00a0", " ") == "95.7 %"
