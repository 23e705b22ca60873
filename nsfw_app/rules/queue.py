"""Queue rules: why an image enters the queue, how many decisions it needs, when it settles. No I/O.

- An image settles when as many reviewers as wanted have decided and agree.
- If they disagree, it is adjudicated: one more reviewer, who does not see the others' decisions,
  decides.
- Unsure is no vote: the image waits for another reviewer.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from nsfw_app.records import Action, Label, Prediction
from nsfw_app.rules.audit_plan import NO_AUDITS, AuditPlan


class QueueReason(StrEnum):
    """Why an image entered the queue, in the order of priority."""

    SECOND_OPINION = "second_opinion"
    DISAGREEMENT = "disagreement"
    REVIEW = "review"
    AUDIT = "audit"


class EntryReason(StrEnum):
    """Why an entry waits now, in the order of priority.

    That is what it entered for, unless it was escalated or reviewers differ since.
    """

    ADJUDICATION = "adjudication"
    SECOND_OPINION = "second_opinion"
    DISAGREEMENT = "disagreement"
    REVIEW = "review"
    AUDIT = "audit"

    @property
    def priority(self) -> int:
        """Its place in the order, from 0."""
        return list(EntryReason).index(self)

    @classmethod
    def of_priority(cls, priority: int) -> "EntryReason":
        """The reason with a priority."""
        return list(cls)[priority]


class QueueOrder(StrEnum):
    """Order in which a reviewer claims entries: by priority, or the oldest first."""

    PRIORITY = "priority"
    OLDEST = "oldest"


PRIORITIES: Mapping[QueueReason, int] = MappingProxyType(
    {reason: EntryReason(reason).priority for reason in QueueReason}
)
ADJUDICATION_PRIORITY = EntryReason.ADJUDICATION.priority  # two reviewers have worked on it already
DEFAULT_ANSWERS: Mapping[QueueReason, int] = MappingProxyType(
    {
        QueueReason.SECOND_OPINION: 2,
        QueueReason.DISAGREEMENT: 2,
        QueueReason.REVIEW: 1,
        QueueReason.AUDIT: 1,
    }
)


DEFAULT_BLIND = frozenset({EntryReason.AUDIT, EntryReason.SECOND_OPINION, EntryReason.ADJUDICATION})


@dataclass(frozen=True, slots=True)
class Admission:
    """What the rules say of an image that arrives.

    - `reason` is why it enters the queue; None where it does not.
    - `probability` is that with which the rules draw an image of this score, in [0, 1], whether
      this one was drawn or not.
    - `is_chosen` is whether a person chose the image, and no draw did.
    """

    reason: QueueReason | None
    probability: float
    is_chosen: bool = False

    @property
    def draw_probability(self) -> float | None:
        """The probability of a drawn image; None for reasons that people choose."""
        drawn = self.reason in (QueueReason.REVIEW, QueueReason.AUDIT) and not self.is_chosen
        return self.probability if drawn else None


@dataclass(frozen=True, slots=True)
class QueueRules:
    """Reasons in use, audit rates, and decisions wanted by reason.

    - `blind` are the reasons for which score and verdict are hidden until the reviewer has decided.
    - `secret` is that of the installation's draws; see `is_sampled`.
    """

    reasons: frozenset[QueueReason] = frozenset(QueueReason) - {QueueReason.AUDIT}
    audits: AuditPlan = NO_AUDITS
    answers: Mapping[QueueReason, int] = field(default_factory=lambda: DEFAULT_ANSWERS)
    blind: frozenset[EntryReason] = DEFAULT_BLIND
    secret: str = ""

    def answers_wanted(self, reason: QueueReason) -> int:
        """Number of reviewers who must decide on an image that entered for this reason."""
        return self.answers.get(reason, DEFAULT_ANSWERS[reason])

    def admit(self, prediction: Prediction, action: Action) -> Admission:
        """Whether a classified image enters the queue, and why.

        Args:
            prediction: Of the image.
            action: The verdict's.
        """
        if action is Action.REVIEW:
            reason, probability, drawn = QueueReason.REVIEW, 1.0, True
        else:
            reason, probability = QueueReason.AUDIT, self.audits.rate(prediction.nsfw_score)
            weights_sha256 = prediction.identity.weights_sha256
            drawn = is_sampled(
                prediction.image_sha256, weights_sha256, rate=probability, secret=self.secret
            )
        if reason not in self.reasons:
            return Admission(None, 0.0)
        return Admission(reason if drawn else None, probability)


@dataclass(frozen=True, slots=True)
class Settlement:
    """State of an entry. `label` is set when it is settled."""

    settled: bool = False
    adjudicating: bool = False
    label: Label | None = None


def settle(labels: Sequence[Label], *, wanted: int) -> Settlement:
    """The state of an entry after the decisions recorded so far.

    Args:
        labels: Standing decisions of different reviewers, oldest first.
        wanted: How many must agree.

    Returns:
        The votes are the decisions that are not unsure.

        - Fewer than wanted: open.
        - Labels agree: settled with that label.
        - Labels differ: adjudicating until there are max(wanted, 2) + 1 votes, then settled by
          majority, or by the last vote if there is none.
        - Not settled by these, and max(wanted, 2) reviewers are unsure: settled as unsure.
    """
    votes = [label for label in labels if label is not Label.UNSURE]
    outcome = _settle_votes(votes, wanted=wanted)
    if not outcome.settled and len(labels) - len(votes) >= max(wanted, 2):
        return Settlement(settled=True, label=Label.UNSURE)
    return outcome


def _settle_votes(votes: Sequence[Label], *, wanted: int) -> Settlement:
    if len(votes) < wanted:
        return Settlement()
    label, most = Counter(votes).most_common(1)[0]
    if most == len(votes):
        return Settlement(settled=True, label=label)
    if len(votes) > max(wanted, 2):
        return Settlement(settled=True, label=label if 2 * most > len(votes) else votes[-1])
    return Settlement(adjudicating=True)


def is_sampled(image_sha256: str, weights_sha256: str, *, rate: float, secret: str) -> bool:
    """Whether an image is in the audit sample: the same draw whenever the image arrives.

    Args:
        image_sha256: Hash of the image.
        weights_sha256: Hash of the model's weights, so that each model has its own sample.
        rate: Probability of being sampled, in [0, 1].
        secret: Of this installation, so that an uploader cannot predict the draws.
    """
    drawn = hashlib.sha256(f"{secret} {weights_sha256} {image_sha256}".encode()).digest()
    return int.from_bytes(drawn) < rate * (1 << 256)
