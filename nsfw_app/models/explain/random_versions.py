"""Random versions of an image, with cells covered in random orders, and their scores.

They are both the samples of `rise` and the random maps that every map is compared with.
"""

import time
from dataclasses import dataclass
from typing import Self

import numpy as np

from nsfw_app.models.explain import maps
from nsfw_app.models.explain.cells import Cells, Covered, Values
from nsfw_app.models.explain.covered_scores import CoveredScores
from nsfw_app.models.explain.faithfulness import RANDOM_ORDERS, auc

# Parts of the cells that are covered at once, in the order in which they are scored. Small ones
# first: evidence may be small.
SHARES = (1 / 4, 1 / 12, 1 / 2)
FEWEST_SHARES = 2  # of them, for models too slow for all
MAX_ORDERS = 57  # with more, neither map nor test change much
SPARE = 0.9  # part of the time left that is planned with, as speed varies


@dataclass(frozen=True, slots=True)
class RandomVersions:
    """Scores of an image and of its random versions.

    - `score` is the image's, `covered_score` that of the image with all cells covered.
    - `scores` has shape (orders, shares): the first `shares[j]` of the cells of order i covered.
    """

    cells: Cells
    score: float
    covered_score: float
    orders: list[maps.Order]
    shares: tuple[float, ...]
    scores: Values

    @classmethod
    def scored(
        cls,
        scores: CoveredScores,
        cells: Cells,
        *,
        until: float,
        reserved: int,
        rng: np.random.Generator,
    ) -> Self:
        """Score as few versions as the test needs, then more while time is left.

        Args:
            scores: Computes scores.
            cells: The grid.
            until: When to end, in seconds of `time.perf_counter`.
            reserved: Versions that are scored later, for which time is left.
            rng: Draws the orders.
        """
        orders = maps.random_orders(cells.visible, MAX_ORDERS, rng)
        shape = cells.rows, cells.columns
        scores.expected = 2 + FEWEST_SHARES * RANDOM_ORDERS + reserved

        def score(orders: list[maps.Order], share: float) -> Values:
            versions = [maps.covered_first(order, share, shape) for order in orders]
            return scores.of(cells, versions)

        nothing, everything = np.zeros(shape, np.bool_), np.ones(shape, np.bool_)
        ends = scores.of(cells, [nothing, everything])
        first = orders[:RANDOM_ORDERS]
        columns = [score(first, share) for share in SHARES[:FEWEST_SHARES]]
        affordable = int((until - time.perf_counter()) * scores.images_per_s * SPARE) - reserved
        if affordable >= RANDOM_ORDERS:
            scores.expected += RANDOM_ORDERS
            columns += [score(first, share) for share in SHARES[FEWEST_SHARES:]]
            affordable -= RANDOM_ORDERS
        shares = SHARES[: len(columns)]
        more = orders[RANDOM_ORDERS:][: max(0, affordable // len(shares))]
        scores.expected += len(more) * len(shares)
        columns = [
            np.append(column, score(more, share))
            for column, share in zip(columns, shares, strict=True)
        ]
        return cls(
            cells,
            score=float(ends[0]),
            covered_score=float(ends[1]),
            orders=[*first, *more],
            shares=shares,
            scores=np.stack(columns, axis=1),
        )

    @property
    def versions(self) -> list[Covered]:
        """Which cells are covered in each version, in the order of the flat `scores`."""
        shape = self.cells.rows, self.cells.columns
        return [
            maps.covered_first(order, share, shape)
            for order in self.orders
            for share in self.shares
        ]

    @property
    def aucs(self) -> Values:
        """The deletion AUC of each order."""
        return np.array([self.auc(row) for row in self.scores])

    def auc(self, scores: Values) -> float:
        """The deletion AUC of scores at `shares`."""
        order = np.argsort(self.shares)
        shares = [0.0, *np.array(self.shares)[order], 1.0]
        return auc(shares, [self.score, *scores[order], self.covered_score])

    def rise(self) -> Values:
        """The map that follows from these versions; see `maps.rise`."""
        centered = self.scores - self.scores.mean(axis=0)  # more covered cells lower every score
        return maps.rise(self.versions, centered.ravel())
