"""Alarms: sentences that say why the evidence behind a policy no longer holds."""

from typing import TYPE_CHECKING

from nsfw_app.evidence.summaries import WAIT_S, Summaries
from nsfw_app.records import ModelIdentity

if TYPE_CHECKING:
    from nsfw_app.evidence.comparison import Comparison

LEAST_EVIDENCE = 100  # images of the running model before its policy was saved
HASH_CHARACTERS = 12  # of a revision, in sentences
DRIFT = "The {what} of recent images differ from those that this evidence is from."
NO_EVIDENCE = (
    "The model that runs now has no evidence: {running}. The images so far were judged by {other}."
)
OTHER_EVIDENCE = (
    "The policy in force was saved when images had been judged by {other}. What runs now has "
    "{differs}: {running}. Check the numbers of what runs now, and save the policy again."
)


def drift_alarms(comparison: "Comparison") -> list[str]:
    """What has changed since the policy was saved; empty if no change is shown."""
    found = (("scores", comparison.scores), ("disagreements", comparison.disagreements))
    return [DRIFT.format(what=what) for what, drift in found if drift.shown]


def model_alarms(summaries: Summaries, running: ModelIdentity | None) -> list[str]:
    """Whether the evidence behind the policy is of another model than the one that runs.

    Models are the same if weights are, and the backend is, or was verified.
    """
    if running is None:
        return []
    saved = summaries.evidence_until(running.model)
    arrived = summaries.images.counts()
    if arrived and not any(summaries.is_same(running, each) for each in arrived):
        return [NO_EVIDENCE.format(running=_name(running), other=_name(next(iter(arrived))))]
    if saved is None:
        return []
    evidence = summaries.images.counts(until=saved)
    own = sum(n for each, n in evidence.items() if summaries.is_same(running, each))
    others = {each: n for each, n in evidence.items() if not summaries.is_same(running, each)}
    if own >= LEAST_EVIDENCE or not others or max(others.values()) <= own:
        return []
    other = next(iter(others))
    return [
        OTHER_EVIDENCE.format(
            running=_name(running), other=_name(other), differs=_difference(running, other)
        )
    ]


def other_running(
    summaries: Summaries, identity: ModelIdentity, running: ModelIdentity | None
) -> ModelIdentity | None:
    """The model that runs, if it does not count as the same as one that evidence is of."""
    return running if running and not summaries.is_same(running, identity) else None


def current_alarms(summaries: Summaries, running: ModelIdentity | None) -> list[str]:
    """All alarms about the policy of the running model."""
    if running is None:
        return []
    found = model_alarms(summaries, running)
    arrived = summaries.images.counts().items()
    if sum(n for each, n in arrived if summaries.is_same(running, each)) < LEAST_EVIDENCE:
        return found  # no summary is computed where it cannot show drift
    return [*found, *drift_alarms(summaries.comparison(running, wait_s=WAIT_S))]


def _name(identity: ModelIdentity) -> str:
    return f"{identity.model}, revision {identity.revision[:HASH_CHARACTERS]}, {identity.backend}"


def _difference(running: ModelIdentity, other: ModelIdentity) -> str:
    if running.model != other.model:
        return "another model"
    if running.revision != other.revision:
        return "another revision"
    if running.weights_sha256 != other.weights_sha256:
        return "other weights"
    return "a backend whose scores were not verified"
