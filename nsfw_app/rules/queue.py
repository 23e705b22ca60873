"""Why an image waits for a person, how many answers it needs, and when it is settled. Pure.

The rule: an image is settled when as many reviewers as wanted have answered and agree. If they
do not, one more, who knows nothing of the others, decides.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from nsfw_app.records import Action, Label, Prediction


class QueueReason(StrEnum):
    """Why an image entered the queue; the order is that of their priority."""

    SECOND_OPINION = "second_opinion"
    DISAGREEMENT = "disagreement"
    REVIEW = "review"
    AUDIT = "audit"


class QueueOrder(StrEnum):
    """How a reviewer wants the queue: by priority, or what waits longest."""

    PRIORITY = "priority"
    OLDEST = "oldest"


PRIORITIES: Mapping[QueueReason, int] = MappingProxyType(
    {reason: number for number, reason in enumerate(QueueReason, start=1)}
)
ADJUDICATION_PRIORITY = 0  # two people have worked on it already
DEFAULT_ANSWERS: Mapping[QueueReason, int] = MappingProxyType(
    {
        QueueReason.SECOND_OPINION: 2,
        QueueReason.DISAGREEMENT: 2,
        QueueReason.REVIEW: 1,
        QueueReason.AUDIT: 1,
    }
)


@dataclass(frozen=True, slots=True)
class QueueRules:
    """Which reasons are in use, the share drawn for audit in [0, 1], and answers per reason."""

    reasons: frozenset[QueueReason] = frozenset(QueueReason) - {QueueReason.AUDIT}
    audit_rate: float = 0.0
    answers: Mapping[QueueReason, int] = field(default_factory=lambda: DEFAULT_ANSWERS)

    def answers_wanted(self, reason: QueueReason) -> int:
        """How many reviewers must answer an image that entered for this reason."""
        return self.answers.get(reason, DEFAULT_ANSWERS[reason])

    def reason_for(self, prediction: Prediction, action: Action) -> QueueReason | None:
        """Why a classified image enters the queue; None where no rule in use matches.

        Args:
            prediction: Of the image.
            action: The verdict's.
        """
        weights_sha256 = prediction.identity.weights_sha256
        reason = None
        if action is Action.REVIEW:
            reason = QueueReason.REVIEW
        elif is_sampled(prediction.image_sha256, weights_sha256, rate=self.audit_rate):
            reason = QueueReason.AUDIT
        return reason if reason in self.reasons else None


@dataclass(frozen=True, slots=True)
class Settlement:
    """Where an entry stands. `label` is set when it is settled."""

    settled: bool = False
    adjudicating: bool = False
    label: Label | None = None


def settle(answers: Sequence[Label], *, wanted: int) -> Settlement:
    """Whether the answers given settle an image.

    Args:
        answers: The standing answers of different reviewers, oldest first.
        wanted: How many must agree.

    Returns:
        Settled with the common label. Where answers differ: to be adjudicated by one more than
        wanted, and never by fewer than three; settled after that with what most of them say, or
        the last where there is no majority. Open while there are fewer than wanted.
    """
    if len(answers) < wanted:
        return Settlement()
    label, votes = Counter(answers).most_common(1)[0]
    if votes == len(answers):
        return Settlement(settled=True, label=label)
    if len(answers) > max(wanted, 2):
        return Settlement(settled=True, label=label if 2 * votes > len(answers) else answers[-1])
    return Settlement(adjudicating=True)


def is_sampled(image_sha256: str, weights_sha256: str, *, rate: float) -> bool:
    """Whether an image is in the audit's sample: a fixed draw, the same whenever it is asked.

    Args:
        image_sha256: Of the image.
        weights_sha256: Of the model that judged it, so that models are audited apart.
        rate: The probability, in [0, 1].
    """
    mixed = int(image_sha256, 16) ^ int(weights_sha256, 16)
    return mixed < rate * (1 << 256)
