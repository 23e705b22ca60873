"""Whether a certificate covers the policy in force, or why it does not.

A certificate is of all images of a model, and it stays. It covers a policy that allows no image
from its threshold upwards, while nothing speaks against its evidence: no alarm, no lower estimate
of the period, no other model that runs, no source left out. The threshold finder of Insights asks
about the same doubts before numbers are used.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from nsfw_app.evidence.estimates import Interval
from nsfw_app.evidence.guarantee import Certificate
from nsfw_app.records import ModelIdentity, Policy

EPSILON = 1e-9  # hundredths are not exact
HASH_CHARACTERS = 12  # of a revision, in sentences


@dataclass(frozen=True, slots=True)
class Coverage:
    """Whether the certificate covers the policy, and the sentences that say so or why not."""

    covers: bool
    sentence: str


def policy_coverage(
    certificate: Certificate,
    policy: Policy,
    *,
    recall: Interval,
    doubts: Sequence[str] = (),
    source: str | None = None,
) -> Coverage:
    """Whether a certificate covers a policy.

    Args:
        certificate: Of all images of a model and source.
        policy: In force.
        recall: The estimate of the period at the policy's `review_from`.
        doubts: Alarms, and other sentences that speak against the evidence.
        source: The only one that the certificate is of; None for all.
    """
    named = f"the policy in force, version {policy.version}"
    lowest = f"{policy.review_from:g}"
    if policy.review_from <= 0:
        return Coverage(True, f"{_first(named)}, allows no image without a person.")
    if certificate.threshold is None:
        sentence = f"No certificate covers {named}, which allows images below {lowest}."
        return Coverage(False, sentence)
    against = list(doubts)
    if policy.review_from > certificate.threshold + EPSILON:
        against.insert(0, f"It reaches only up to {certificate.threshold:g}.")
    elif recall.value is not None and recall.upper < certificate.recall:
        against.insert(
            0,
            "The estimated recall of this period is lower than the target: "
            f"{100 * recall.value:.1f} % ({100 * recall.lower:.1f} to {100 * recall.upper:.1f}).",
        )
    if source is not None:
        against.append(f"It is of images from {source} only; the policy is for all sources.")
    if not against:
        return Coverage(
            True, f"The certificate covers {named}, which allows images below {lowest}."
        )
    first = f"The certificate does not cover {named}, which allows images below {lowest}."
    return Coverage(False, " ".join([first, *against]))


def other_model_doubts(certified: ModelIdentity, running: ModelIdentity) -> list[str]:
    """That a certificate is of another model than the one that judges images now."""
    one, other = (
        f"{each.model}, revision {each.revision[:HASH_CHARACTERS]}, {each.backend}"
        for each in (certified, running)
    )
    return [f"It is of {one}. What judges images now is {other}."]


def certificate_json(certificate: Certificate, coverage: Coverage) -> dict[str, Any]:
    """A certificate as JSON, with `covers_policy` and `coverage`, the sentence about that."""
    return asdict(certificate) | {
        "covers_policy": coverage.covers,
        "coverage": coverage.sentence,
    }


def _first(text: str) -> str:
    return text[0].upper() + text[1:]
