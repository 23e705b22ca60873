"""Agreement of reviewers with each other, over the decisions of a selection.

- Of several decisions of a reviewer about an image the latest of the selection counts.
- What waits for another decision is not in it; see `decisions`.
"""

from dataclasses import dataclass

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
    order = np.lexsort((found.reviewers, found.images))  # keeps the order of decisions
    images, reviewers = found.images[order], found.reviewers[order]
    latest = np.ones(len(order), bool)
    latest[:-1] = (images[1:] != images[:-1]) | (reviewers[1:] != reviewers[:-1])
    order, images, reviewers = order[latest], images[latest], reviewers[latest]
    labels = found.labels[order].astype(np.int64)
    names, places = np.unique(images, return_inverse=True)
    counts = np.bincount(places * LABELS + labels, minlength=len(names) * LABELS)
    kinds, numbers = np.unique(counts.reshape(-1, LABELS), axis=0, return_counts=True)
    tables = _pair_tables(places, reviewers.astype(np.int64), labels, found.reviewer_names)
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
) -> dict[tuple[str, str], NDArray[np.int64]]:
    """Labels of each pair of reviewers about images in common, by their names in order.

    Args:
        places: Shape (n,), images by number, sorted.
        reviewers: Shape (n,), indexes of names.
        labels: Shape (n,).
        names: Of reviewers.
    """
    found: dict[tuple[str, str], NDArray[np.int64]] = {}
    distance = 1
    while (same := np.flatnonzero(places[:-distance] == places[distance:])).size:
        pairs = reviewers[same] * len(names) + reviewers[same + distance]
        cells = labels[same] * LABELS + labels[same + distance]
        for pair in np.unique(pairs).tolist():
            first, second = (names[code] for code in divmod(pair, len(names)))
            table = np.bincount(cells[pairs == pair], minlength=LABELS**2).reshape(LABELS, LABELS)
            if second < first:
                first, second, table = second, first, table.T
            found[first, second] = found.get((first, second), 0) + table
        distance += 1
    return found
