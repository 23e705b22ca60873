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
LABELS = len(CODES)


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
    return agreement_of(found, latest, found.labels[latest], size=LABELS, reviewer=reviewer)


def latest_decisions(found: Decisions) -> NDArray[np.int64]:
    """Indexes of the latest decision of each reviewer about each image, sorted by image."""
    order = np.lexsort((found.reviewers, found.images))  # keeps the order of decisions
    images, reviewers = found.images[order], found.reviewers[order]
    latest = np.ones(len(order), bool)
    latest[:-1] = (images[1:] != images[:-1]) | (reviewers[1:] != reviewers[:-1])
    return order[latest]


def agreement_of(
    found: Decisions,
    latest: NDArray[np.int64],
    labels: NDArray[Any],
    *,
    size: int,
    reviewer: str | None = None,
) -> ReviewerAgreement:
    """Agreement about labels of any kind.

    Args:
        found: Decisions of all reviewers.
        latest: Shape (n,), indexes of those that count, as `latest_decisions` has them.
        labels: Shape (n,), codes from 0 to `size` - 1.
        size: How many labels there are.
        reviewer: Whose pairs are listed; None for all.
    """
    labels = labels.astype(np.int64)
    names, places = np.unique(found.images[latest], return_inverse=True)
    counts = np.bincount(places * size + labels, minlength=len(names) * size)
    kinds, numbers = np.unique(counts.reshape(-1, size), axis=0, return_counts=True)
    reviewers = found.reviewers[latest].astype(np.int64)
    tables = _pair_tables(places, reviewers, labels, found.reviewer_names, size=size)
    if reviewer is not None:
        tables = {pair: table for pair, table in tables.items() if reviewer in pair}
    pairs = sorted(tables, key=lambda pair: (-tables[pair].sum(), pair))
    return ReviewerAgreement(
        alpha_of_counts(kinds, numbers),
        [PairRecord(*pair, kappa_of_table(tables[pair])) for pair in pairs[:MAX_PAIRS]],
        len(pairs),
    )


def _pair_tables(
    places: NDArray[np.int64],
    reviewers: NDArray[np.int64],
    labels: NDArray[np.int64],
    names: list[str],
    *,
    size: int,
) -> dict[tuple[str, str], NDArray[np.int64]]:
    """Labels of each pair of reviewers about images in common, by their names in order.

    Args:
        places: Shape (n,), images by number, sorted.
        reviewers: Shape (n,), indexes of names.
        labels: Shape (n,).
        names: Of reviewers.
        size: How many labels there are.
    """
    found: dict[tuple[str, str], NDArray[np.int64]] = {}
    distance = 1
    while (same := np.flatnonzero(places[:-distance] == places[distance:])).size:
        pairs = reviewers[same] * len(names) + reviewers[same + distance]
        cells = labels[same] * size + labels[same + distance]
        for pair in np.unique(pairs).tolist():
            first, second = (names[code] for code in divmod(pair, len(names)))
            table = np.bincount(cells[pairs == pair], minlength=size**2).reshape(size, size)
            if second < first:
                first, second, table = second, first, table.T
            found[first, second] = found.get((first, second), 0) + table
        distance += 1
    return found
