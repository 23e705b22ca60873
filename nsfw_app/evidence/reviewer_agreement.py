"""Agreement of reviewers with each other, over the decisions of a selection.

- Of several decisions of a reviewer about an image the latest of the selection counts.
- What waits for another decision is not in it; see `decisions`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nsfw_app.evidence.decisions import CODES, Decisions
from nsfw_app.evidence.metrics import Agreement, alpha_of_counts, kappa_of_table

MAX_PAIRS = 100


@dataclass(frozen=True, slots=True)
class PairRecord:
    """Agreement of two reviewers."""

    first: str
    second: str
    kappa: Agreement


@dataclass(frozen=True, slots=True)
class ReviewerAgreement:
    """Agreement of all reviewers, and of pairs.

    - `pairs` are those with the most images in common.
    - `all_pairs` is the number of pairs that have images in common.
    """

    alpha: Agreement
    pairs: list[PairRecord]
    all_pairs: int


def agreement(found: Decisions, *, reviewer: str | None = None) -> ReviewerAgreement:
    """Krippendorff's alpha of all reviewers, and Cohen's kappa of pairs.

    Args:
        found: Decisions of all reviewers.
        reviewer: Whose pairs are listed; None for all.
    """
    latest = latest_decisions(found)
    return SharedImages(found, latest).agreement(
        found.labels[latest], size=len(CODES), reviewer=reviewer
    )


def latest_decisions(found: Decisions) -> NDArray[np.int64]:
    """Indexes of the latest decision of each reviewer about each image, sorted by image."""
    order = np.lexsort((found.reviewers, found.images))  # keeps the order of decisions
    images, reviewers = found.images[order], found.reviewers[order]
    latest = np.ones(len(order), bool)
    latest[:-1] = (images[1:] != images[:-1]) | (reviewers[1:] != reviewers[:-1])
    return order[latest]


class SharedImages:
    """Images with decisions of several reviewers, about which labels of any kind are compared.

    Args:
        found: Decisions of all reviewers.
        chosen: Shape (n,), indexes of one decision of each reviewer about each image, sorted by
            image.
    """

    def __init__(self, found: Decisions, chosen: NDArray[np.int64]) -> None:
        images, self._places = np.unique(found.images[chosen], return_inverse=True)
        self._images = len(images)
        self._names = sorted(found.reviewer_names)
        rank = {name: at for at, name in enumerate(self._names)}
        ranks = np.array([rank[name] for name in found.reviewer_names], np.int64)
        reviewers = ranks[found.reviewers[chosen]]
        one, other = _pairs(self._places)
        in_order = reviewers[one] < reviewers[other]
        self._first = np.where(in_order, one, other)
        self._second = np.where(in_order, other, one)
        codes = reviewers[self._first] * len(self._names) + reviewers[self._second]
        self._pairs, self._pair_of = np.unique(codes, return_inverse=True)

    def agreement(
        self, labels: NDArray[Any], *, size: int, reviewer: str | None = None
    ) -> ReviewerAgreement:
        """Agreement about labels.

        Args:
            labels: Shape (n,), that of each chosen decision, from 0 to `size` - 1.
            size: How many labels there are.
            reviewer: Whose pairs are listed; None for all.
        """
        labels = labels.astype(np.int64)
        counts = np.bincount(self._places * size + labels, minlength=self._images * size)
        kinds, numbers = np.unique(counts.reshape(-1, size), axis=0, return_counts=True)
        cells = (self._pair_of * size + labels[self._first]) * size + labels[self._second]
        tables = np.bincount(cells, minlength=len(self._pairs) * size**2).reshape(-1, size, size)
        found = [
            (self._names[first], self._names[second], table)
            for first, second, table in zip(
                *np.divmod(self._pairs, len(self._names)), tables, strict=True
            )
            if reviewer in {None, self._names[first], self._names[second]}
        ]
        found.sort(key=lambda pair: (-pair[2].sum(), pair[:2]))
        return ReviewerAgreement(
            alpha_of_counts(kinds, numbers),
            [
                PairRecord(first, second, kappa_of_table(table))
                for first, second, table in found[:MAX_PAIRS]
            ],
            len(found),
        )


def _pairs(places: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indexes of each two decisions about one image; `places` is its number, sorted."""
    one: list[NDArray[np.int64]] = []
    distance = 1
    while (same := np.flatnonzero(places[:-distance] == places[distance:])).size:
        one.append(same)
        distance += 1
    if not one:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    distances = np.repeat(np.arange(1, distance), [len(each) for each in one])
    first = np.concatenate(one)
    return first, first + distances
