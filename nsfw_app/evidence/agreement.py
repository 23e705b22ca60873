"""Agreement of the model with reviewers, over all decisions as they came, unweighted.

- An image with decisions of several reviewers counts once, with the label that they settled on.
- The model's label is computed from the stored score under the policy in force.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

from nsfw_app.evidence.metrics import Confusion
from nsfw_app.models.equivalence import EquivalentBackends
from nsfw_app.records import Label, ModelIdentity, Policy
from nsfw_app.review.policies import PolicyBook
from nsfw_app.store import Store
from nsfw_app.store.blind_review import Hidden
from nsfw_app.store.standing_decisions import Outcome


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """A model compared with reviewers, at a threshold.

    - `undecided`: images left out of the confusion matrix because reviewers disagree or are unsure.
    - `backends` computed the predictions; their parity is verified, or there is only one.
    """

    model: str
    revision: str
    backends: list[str]
    threshold: float
    confusion: Confusion
    undecided: int


class Insights:
    """Models compared with the standing decisions of a store.

    Args:
        store: Source of the decisions.
        policies: The policy in force for each model.
        equivalents: Backends whose predictions count as those of one model.
    """

    def __init__(
        self,
        store: Store,
        policies: PolicyBook,
        equivalents: EquivalentBackends,
    ) -> None:
        self._decisions = store.standing_decisions
        self._policies = policies
        self._equivalents = equivalents

    def hidden(self, viewer: str | None) -> Hidden:
        """The standing decisions that these numbers leave out for a viewer."""
        return self._decisions.hidden(viewer)

    def models(self, *, viewer: str | None = None) -> list[ModelRecord]:
        """Each model with decisions, the one with the most images first.

        An image counts once for a model, even if several verified backends predicted it.

        Args:
            viewer: Reviewer who sees the numbers; decisions about images that wait for this
                reviewer's own decision are left out.
        """
        policies: dict[str, Policy] = {}

        def threshold_of(model: str) -> float:
            if model not in policies:
                policies[model] = self._policies.of(model)
            return policies[model].threshold

        def group_of(identity: ModelIdentity) -> tuple[str, str, frozenset[str]]:
            backends = self._equivalents.of(identity, policies[identity.model])
            return identity.model, identity.revision, backends

        groups: dict[tuple[str, str, frozenset[str]], _Tally] = defaultdict(_Tally)
        for count in self._decisions.outcome_counts(threshold_of, viewer=viewer):
            groups[group_of(count.identity)].add(
                count.identity, count.label, count.predictions, count.flagged
            )
        latest: dict[tuple[Any, ...], Outcome] = {}
        for outcome in self._decisions.competing_outcomes(viewer=viewer):
            key = group_of(outcome.identity), outcome.image_sha256
            known = latest.get(key)
            if known is None or known.last_decision_id < outcome.last_decision_id:
                latest[key] = outcome
        for (group, _), outcome in latest.items():
            flagged = outcome.nsfw_score >= threshold_of(outcome.identity.model)
            groups[group].add(outcome.identity, outcome.label, 1, int(flagged))
        found = sorted(groups.items(), key=lambda item: item[1].images, reverse=True)
        return [
            _model_record(model, revision, tally, threshold_of(model))
            for (model, revision, _), tally in found
        ]


class _Tally:
    """Images of a model by settled label, and how many of each the model flags."""

    def __init__(self) -> None:
        self.labels: Counter[Label | None] = Counter()
        self.flagged: Counter[Label | None] = Counter()
        self.backends: set[str] = set()

    @property
    def images(self) -> int:
        """The number of images, undecided ones included."""
        return self.labels.total()

    def add(self, identity: ModelIdentity, label: Label | None, images: int, flagged: int) -> None:
        """Count images with this label, of which `flagged` are flagged."""
        self.labels[label] += images
        self.flagged[label] += flagged
        self.backends.add(identity.backend)


def _model_record(model: str, revision: str, tally: _Tally, threshold: float) -> ModelRecord:
    nsfw, normal = tally.labels[Label.NSFW], tally.labels[Label.NORMAL]
    flagged_nsfw, flagged_normal = tally.flagged[Label.NSFW], tally.flagged[Label.NORMAL]
    return ModelRecord(
        model,
        revision,
        sorted(tally.backends),
        threshold,
        Confusion(
            true_positives=flagged_nsfw,
            false_positives=flagged_normal,
            true_negatives=normal - flagged_normal,
            false_negatives=nsfw - flagged_nsfw,
        ),
        undecided=tally.images - nsfw - normal,
    )
