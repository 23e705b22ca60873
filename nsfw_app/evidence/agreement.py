"""What the answers say: how the model stands against people, and people with one another.

An image that several people answered counts once against the model, by the label they settled on.
The model is judged anew by the policy in force, from the score that was stored.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nsfw_app.evidence import metrics
from nsfw_app.evidence.metrics import NO_ANSWER, Agreement, Confusion, Share
from nsfw_app.models.equivalence import EquivalentBackends
from nsfw_app.records import Label, Policy
from nsfw_app.review.policies import PolicyBook
from nsfw_app.store import Store
from nsfw_app.store.standing_decisions import Outcome, ReviewerStats, SharedAnswer

MAX_PAIRS = 100
CODES = {label: code for code, label in enumerate(Label)}


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """A model against people, at a threshold. `undecided` images are not in the counts.

    People differ about those, or are unsure. `backends` are those that made the predictions; their
    parity was verified, or there is only one.
    """

    model: str
    revision: str
    backends: list[str]
    threshold: float
    confusion: Confusion
    undecided: int


@dataclass(frozen=True, slots=True)
class ReviewerRecord:
    """A reviewer's stats, and how many of others' answers to the same images are the same."""

    stats: ReviewerStats
    with_others: Share


@dataclass(frozen=True, slots=True)
class PairRecord:
    """Two reviewers and how far they agree."""

    first: str
    second: str
    kappa: Agreement


@dataclass(frozen=True, slots=True)
class People:
    """Reviewers, each and together. `pairs` are those with the most images in common.

    `all_pairs` is how many pairs have any.
    """

    alpha: Agreement
    pairs: list[PairRecord]
    all_pairs: int
    reviewers: list[ReviewerRecord]


class Insights:
    """Statistics over a store's answers that stand.

    Args:
        store: Where the answers are.
        policies: The policy in force for each model.
        equivalents: Backends whose predictions count as those of one model.
    """

    def __init__(
        self,
        store: Store,
        policies: PolicyBook,
        equivalents: EquivalentBackends,
    ) -> None:
        self._answers = store.insights
        self._policies = policies
        self._equivalents = equivalents

    def models(self, *, viewer: str | None = None) -> list[ModelRecord]:
        """Each model that people have answered, the one with the most answered images first.

        An image counts once for a model, also when several of its verified backends judged it.

        Args:
            viewer: Who looks; answers about images that wait for theirs are left out.
        """
        policies: dict[str, Policy] = {}
        groups: dict[tuple[str, str, frozenset[str]], dict[str, Outcome]] = {}
        for outcome in self._answers.outcomes(viewer=viewer):
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
        """How far reviewers agree, and what each has done; see `models` for the viewer."""
        names, answers = matrix(self._answers.shared(viewer=viewer))
        given = (answers != NO_ANSWER).astype(np.float32)
        common = (given @ given.T).astype(int)
        pairs = [
            (first, second)
            for first, second in zip(*np.triu_indices(len(names), 1), strict=True)
            if common[first, second]
        ]
        pairs.sort(key=lambda pair: -common[pair])
        return People(
            alpha=metrics.krippendorff_alpha(answers),
            pairs=[
                PairRecord(names[i], names[j], metrics.cohen_kappa(answers[i], answers[j]))
                for i, j in pairs[:MAX_PAIRS]
            ],
            all_pairs=len(pairs),
            reviewers=[
                ReviewerRecord(stats, _with_others(names, answers, stats.reviewer))
                for stats in self._answers.reviewer_stats(viewer=viewer)
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


def matrix(answers: Sequence[SharedAnswer]) -> tuple[list[str], NDArray[np.int8]]:
    """Answers as reviewers by images.

    Returns:
        The reviewers, by name, and their answers: shape (reviewers, images), values of `CODES`,
        `NO_ANSWER` for none.
    """
    names = sorted({answer.reviewer for answer in answers})
    rows = {name: row for row, name in enumerate(names)}
    columns: dict[str, int] = {}
    for answer in answers:
        columns.setdefault(answer.image_sha256, len(columns))
    filled = np.full((len(names), len(columns)), NO_ANSWER, dtype=np.int8)
    for answer in answers:
        filled[rows[answer.reviewer], columns[answer.image_sha256]] = CODES[answer.label]
    return names, filled


def _with_others(names: list[str], answers: NDArray[np.int8], reviewer: str) -> Share:
    if reviewer not in names:
        return Share(0, 0)
    own = answers[names.index(reviewer)]
    others = np.delete(answers, names.index(reviewer), axis=0)
    both = (own != NO_ANSWER) & (others != NO_ANSWER)
    return Share(int(np.sum((own == others) & both)), int(np.sum(both)))
