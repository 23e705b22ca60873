"""Faithfulness of a map: deletion AUC, and the test whether a map is better than random ones.

- Deletion: cells are covered in the order of the map, the highest value first. The AUC is the area
  under the nsfw score over the covered part of the image; a faithful map has a low one. Insertion
  starts with everything covered and uncovers in the same order; a faithful map has a high AUC.
  Source: Petsiuk, Das and Saenko (2018).
- A map is better than random if its deletion AUC is below the mean of random orders, and a
  permutation test rejects that the score of a random version depends on how many cells are covered
  only, and not on which ones the map names.
- The statistic of the test is the covariance, over random versions, of the sum of the map's values
  that are covered with how far the score falls. Source: Bhatt, Weller and Moura (2020), "Evaluating
  and aggregating feature-based model explanations".
- Under the null hypothesis the scores of the orders can be exchanged, so that the test is exact.
  Source: Phipson and Smyth (2010), "Permutation p-values should never be zero".
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]  # shape (orders, shares)

ERROR_RATE = 0.05  # how often a map that is no better than random is shown, at most
PERMUTATIONS = 999
EQUAL = 1e-9  # differences of statistics and AUCs below it are rounding errors


def auc(shares: Sequence[float], scores: Sequence[float]) -> float:
    """The area under a score over the covered part of the image, by the trapezoidal rule.

    Args:
        shares: The covered parts, rising from 0 to 1.
        scores: The score at each.
    """
    return float(np.trapezoid(scores, shares))


def p_value(
    statistic: Callable[[Scores], NDArray[np.float64]], scores: Scores, rng: np.random.Generator
) -> float:
    """The share of permutations of the orders' scores with a statistic at least as high.

    Args:
        statistic: Of scores, shape (n, orders, shares); returns shape (n,), high where the map
            explains them.
        scores: Of random versions.
        rng: Draws the permutations.
    """
    permuted = np.stack([rng.permutation(scores) for _ in range(PERMUTATIONS)])
    own, others = statistic(scores[None]), statistic(permuted)
    as_high = int(np.count_nonzero(others >= own - EQUAL))
    return (1 + as_high) / (1 + PERMUTATIONS)
