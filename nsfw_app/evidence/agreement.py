"""Agreement of the model with reviewers, and of reviewers with each other.

- An image with decisions of several reviewers counts once, with the label that they settled on.
- The model's label is computed from the stored score under the policy in force.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nsfw_app.evidence import metrics
from nsfw_app.evidence.metrics import NO_LABEL, Agreement, Confusion, Share
from nsfw_app.models.equivalence import EquivalentBackends
from nsfw_app.records import Label, Policy
from nsfw_app.review.policies import PolicyBook
from nsfw_app.store import Store
from nsfw_app.store.standing_decisions import Outcome, ReviewerStats, SharedAnswer

MAX_PAIRS = 100
CODES = {label: code for code, label in enumerate(Label)}


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """A model compared with reviewers, at a threshold.

    - `undecided` images are not in the counts: reviewers disagree about them, or are unsure.
    - `backends` computed the predictions; their parity is verified, or there is only one.
    """

    model: str
    revision: str
    backends: list[str]
    threshold: float
    confusion: Confusion
    undecided: int


@dataclass(frozen=True, slots=True)
class ReviewerRecord:
    """A reviewer's stats, and the share of others' decisions about the same images that agree."""

    stats: ReviewerStats
    with_others: Share


@dataclass(frozen=True, slots=True)
class PairRecord:
    """Agreement of two reviewers."""

    first: str
    second: str
    kappa: Agreement


@dataclass(frozen=True, slots=True)
class People:
    """Agreement of all reviewers, of pairs, and of each.

    - `pairs` are those with the most images in common.
    - `all_pairs` is how many pairs have images in common.
    """

    alpha: Agreement
    pairs: list[PairRecord]
    all_pairs: int
    reviewers: list[ReviewerRecord]


class Insights:
    """Statistics over the standing decisions of a store.

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
        self._decisions = store.insights
        self._policies = policies
        self._equivalents = equivalents

    def models(self, *, viewer: str | None = None) -> list[ModelRecord]:
        """Each model with decisions, the one with the most images first.

        An image counts once for a model, also with predictions of several verified backends.

        Args:
            viewer: Reviewer who sees the numbers; decisions about images that wait for this
                reviewer's own decision are left out.
        """
        policies: dict[str, Policy] = {}
        groups: dict[tuple[str, str, frozenset[str]], dict[str, Outcome]] = {}
        for outcome in self._decisions.outcomes(viewer=viewer):
            identity = outcome.identity
            if identity.model not in policies:
                policies[identity.model] = self._policies.of(identity.model)
            backends = self._equivalents.of(identity, policies[identity.model])
            key = identity.model, identity.revision, backends
            images = groups.setdefault(key, {})
            known = images.get(outcome.image_sha256)
            if known is None or known.last_decision_id < outcome.last_decision_id:
                images[outcome.image_sha256] = outcome
        found = sorted(groups.items(), key=lambda group: len(group[1]), reverse=True)
        return [
            _model_record(list(images.values()), policies[model].threshold)
            for (model, _, _), images in found
        ]

    def people(self, *, viewer: str | None = None) -> People:
        """Agreement of reviewers, and the stats of each; see `models` for the viewer."""
        names, labels = matrix(self._decisions.shared(viewer=viewer))
        given = (labels != NO_LABEL).astype(np.float32)
        common = (given @ given.T).astype(int)
        pairs = [
            (first, second)
            for first, second in zip(*np.triu_indices(len(names), 1), strict=True)
            if common[first, second]
        ]
        pairs.sort(key=lambda pair: -common[pair])
        return People(
            alpha=metrics.krippendorff_alpha(labels),
            pairs=[
                PairRecord(names[i], names[j], metrics.cohen_kappa(labels[i], labels[j]))
                for i, j in pairs[:MAX_PAIRS]
            ],
            all_pairs=len(pairs),
            reviewers=[
                ReviewerRecord(stats, _with_others(names, labels, stats.reviewer))
                for stats in self._decisions.reviewer_stats(viewer=viewer)
            ],
        )


def _model_record(outcomes: Sequence[Outcome], threshold: float) -> ModelRecord:
    first = outcomes[0].identity
    decided = [o for o in outcomes if o.label in {Label.NORMAL, Label.NSFW}]
    return ModelRecord(
        first.model,
        first.revision,
        sorted({outcome.identity.backend for outcome in outcomes}),
        threshold,
        metrics.confusion(
            np.array([o.label is Label.NSFW for o in decided], dtype=bool),
            np.array([o.nsfw_score for o in decided], dtype=float),
            threshold=threshold,
        ),
        undecided=len(outcomes) - len(decided),
    )


def matrix(decisions: Sequence[SharedAnswer]) -> tuple[list[str], NDArray[np.int8]]:
    """Decisions as a matrix of reviewers by images.

    Returns:
        The reviewers, by name, and their labels: shape (reviewers, images), values of `CODES`,
        `NO_LABEL` for none.
    """
    names = sorted({decision.reviewer for decision in decisions})
    rows = {name: row for row, name in enumerate(names)}
    columns: dict[str, int] = {}
    for decision in decisions:
        columns.setdefault(decision.image_sha256, len(columns))
    filled = np.full((len(names), len(columns)), NO_LABEL, dtype=np.int8)
    for decision in decisions:
        filled[rows[decision.reviewer], columns[decision.image_sha256]] = CODES[decision.label]
    return names, filled


def _with_others(names: list[str], labels: NDArray[np.int8], reviewer: str) -> Share:
    if reviewer not in names:
        return Share(0, 0)
    own = labels[names.index(reviewer)]
    others = np.delete(labels, names.index(reviewer), axis=0)
    both = (own != NO_LABEL) & (others != NO_LABEL)
    return Share(int(np.sum((own == others) & both)), int(np.sum(both)))
