"""Random versions of an image, with cells covered in random orders, and their scores.

They are both the samples of `rise` and the random maps that every map is compared with.
"""

import time
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from nsfw_app.models.explain import maps
from nsfw_app.models.explain.cells import Cells, Values
from nsfw_app.models.explain.covered_scores import CoveredScores
from nsfw_app.models.explain.faithfulness import Scores, auc, p_value

# Parts of the cells that are covered at once, in the order in which they are scored. Small ones
# first: evidence may be small.
SHARES = (1 / 4, 1 / 12, 1 / 2)
FEWEST_SHARES = 2  # of them, for models too slow for all
FEWEST_ORDERS = 19
MAX_ORDERS = 38  # with more, neither map nor test change much
SPARE = 0.9  # part of the time left that is planned with, as speed varies


@dataclass(frozen=True, slots=True)
class RandomVersions:
    """Scores of an image and of its random versions.

    - `score` is the image's, `covered_score` that of the image with all cells covered.
    - `covered` has shape (orders, shares, cells): 1 where a version has a cell covered, else 0.
    - `scores` has shape (orders, shares): the first `shares[j]` of the cells of order i covered.
    """

    cells: Cells
    score: float
    covered_score: float
    shares: tuple[float, ...]
    covered: NDArray[np.float64]
    scores: Scores

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
        scores.expected = 2 + FEWEST_SHARES * FEWEST_ORDERS + reserved

        def score(orders: list[maps.Order], share: float) -> Values:
            versions = [maps.covered_first(order, share, shape) for order in orders]
            return scores.of(cells, versions)

        nothing, everything = np.zeros(shape, np.bool_), np.ones(shape, np.bool_)
        ends = scores.of(cells, [nothing, everything])
        first = orders[:FEWEST_ORDERS]
        columns = [score(first, share) for share in SHARES[:FEWEST_SHARES]]
        affordable = int((until - time.perf_counter()) * scores.images_per_s * SPARE) - reserved
        if affordable >= FEWEST_ORDERS:
            scores.expected += FEWEST_ORDERS
            columns += [score(first, share) for share in SHARES[FEWEST_SHARES:]]
            affordable -= FEWEST_ORDERS
        shares = SHARES[: len(columns)]
        more = orders[FEWEST_ORDERS:][: max(0, affordable // len(shares))]
        scores.expected += len(more) * len(shares)
        columns = [
            np.append(column, score(more, share))
            for column, share in zip(columns, shares, strict=True)
        ]
        covered = [
            [maps.covered_first(order, share, shape).ravel() for share in shares]
            for order in (*first, *more)
        ]
        return cls(
            cells,
            score=float(ends[0]),
            covered_score=float(ends[1]),
            shares=shares,
            covered=np.array(covered, dtype=np.float64),
            scores=np.stack(columns, axis=1),
        )

    def auc(self, scores: Values) -> float:
        """The deletion AUC of scores at `shares`."""
        order = np.argsort(self.shares)
        shares = [0.0, *np.array(self.shares)[order], 1.0]
        return auc(shares, [self.score, *scores[order], self.covered_score])

    @property
    def mean_auc(self) -> float:
        """The mean deletion AUC of the random orders."""
        return self.auc(self.scores.mean(axis=0))

    def rise(self) -> Values:
        """The map that follows from these versions; see `maps.rise`."""
        return self._shown(maps.rise(self.covered, self.scores))

    def _shown(self, fall: NDArray[np.float64]) -> Values:
        """The map from the covariance of each cell, shape (..., cells): smoothed, at least 0."""
        grids = fall.reshape(*fall.shape[:-1], self.cells.rows, self.cells.columns)
        return np.maximum(maps.smoothed(grids), 0.0)

    def p_value(self, values: Values | None, rng: np.random.Generator) -> float:
        """How often a map that is no better than random explains the scores as well.

        Args:
            values: The map; None for that of `rise`, which is computed from each permutation.
            rng: Draws permutations.
        """

        def explained(scores: Scores) -> Values:
            """The covariance of the map with how far the scores fall."""
            fall = maps.rise(self.covered, scores)
            shown = self._shown(fall).reshape(fall.shape) if values is None else values.ravel()
            found: Values = (fall * shown).sum(axis=-1)
            return found

        return p_value(explained, self.scores, rng)
