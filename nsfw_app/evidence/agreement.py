"""Agreement of the model with reviewers, and of reviewers with each other.

- An image with decisions of several reviewers counts once, with the label that they settled on.
- The model's label is computed from the stored score under the policy in force.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nsfw_app.evidence import metrics
from nsfw_app.evidence.metrics import Agreement, Confusion, Share
from nsfw_app.models.equivalence import EquivalentBackends
from nsfw_app.records import Label, ModelIdentity, Policy
from nsfw_app.store import Store
from nsfw_app.store.standing_decisions import Outcome, ReviewerStats

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
        groups: dict[tuple[str, str, frozenset[str]], _Tally] = defaultdict(_Tally)
        for count in self._answers.outcome_counts(self._threshold_of, viewer=viewer):
            groups[self._group(count.identity)].add(
                count.identity, count.label, count.predictions, count.flagged
            )
        latest: dict[tuple[Any, ...], Outcome] = {}
        for outcome in self._answers.rival_outcomes(viewer=viewer):
            key = self._group(outcome.identity), outcome.image_sha256
            known = latest.get(key)
            if known is None or known.last_decision_id < outcome.last_decision_id:
                latest[key] = outcome
        for (group, _), outcome in latest.items():
            flagged = outcome.nsfw_score >= self._threshold_of(outcome.identity.model)
            groups[group].add(outcome.identity, outcome.label, 1, int(flagged))
        found = sorted(groups.items(), key=lambda item: item[1].images, reverse=True)
        return [self._record(model, revision, tally) for (model, revision, _), tally in found]

    def people(self, *, viewer: str | None = None) -> People:
        """How far reviewers agree, and what each has done; see `models` for the viewer."""
        tables: dict[tuple[str, str], NDArray[np.int64]] = defaultdict(
            lambda: np.zeros((len(CODES), len(CODES)), dtype=np.int64)
        )
        counts, labels = self._answers.shared_counts(viewer=viewer)
        for count in counts:
            cell = CODES[count.first_label], CODES[count.second_label]
            tables[count.first, count.second][cell] += count.images
        pairs = sorted(tables, key=lambda pair: (-tables[pair].sum(), pair))
        return People(
            alpha=metrics.alpha_of_counts(
                np.array([[c.normal, c.nsfw, c.unsure] for c in labels]).reshape(-1, len(CODES)),
                np.array([c.images for c in labels], dtype=np.int64),
            ),
            pairs=[
                PairRecord(*pair, metrics.kappa_of_table(tables[pair]))
                for pair in pairs[:MAX_PAIRS]
            ],
            all_pairs=len(pairs),
            reviewers=[
                ReviewerRecord(stats, _with_others(tables, stats.reviewer))
                for stats in self._answers.reviewer_stats(viewer=viewer)
            ],
        )

    def _threshold_of(self, model: str) -> float:
        return self._policy_of(model).threshold

    def _group(self, identity: ModelIdentity) -> tuple[str, str, frozenset[str]]:
        """What counts as one model: a revision, on backends that are verified equal."""
        return identity.model, identity.revision, self._equivalents.of(identity)

    def _record(self, model: str, revision: str, tally: "_Tally") -> ModelRecord:
        people_nsfw, people_normal = tally.labels[Label.NSFW], tally.labels[Label.NORMAL]
        nsfw_flagged, normal_flagged = tally.flagged[Label.NSFW], tally.flagged[Label.NORMAL]
        return ModelRecord(
            model,
            revision,
            sorted(tally.backends),
            self._threshold_of(model),
            Confusion(
                true_positives=nsfw_flagged,
                false_positives=normal_flagged,
                true_negatives=people_normal - normal_flagged,
                false_negatives=people_nsfw - nsfw_flagged,
            ),
            undecided=tally.images - people_nsfw - people_normal,
        )


class _Tally:
    """Images of a model by the label that people give them, and by whether it flags them."""

    def __init__(self) -> None:
        self.labels: Counter[Label | None] = Counter()
        self.flagged: Counter[Label | None] = Counter()
        self.backends: set[str] = set()

    @property
    def images(self) -> int:
        """How many images there are, undecided ones included."""
        return self.labels.total()

    def add(self, identity: ModelIdentity, label: Label | None, images: int, flagged: int) -> None:
        """Count images with this label, of which so many are flagged."""
        self.labels[label] += images
        self.flagged[label] += flagged
        self.backends.add(identity.backend)


def _with_others(tables: Mapping[tuple[str, str], NDArray[np.int64]], reviewer: str) -> Share:
    """How many of others' decisions on a reviewer's images give the same label."""
    own = [table for pair, table in tables.items() if reviewer in pair]
    return Share(sum(int(np.trace(t)) for t in own), sum(int(t.sum()) for t in own))
