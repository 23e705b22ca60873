"""Faithfulness of a map: deletion AUC, and the test whether a map is better than random ones.

- Deletion: cells are covered in the order of the map, the highest value first. The AUC is the area
  under the nsfw score over the covered part of the image; a faithful map has a low one. Insertion
  starts with everything covered and uncovers in the same order; a faithful map has a high AUC.
  Source: Petsiuk, Das and Saenko (2018).
- The test is a rank test. Under the null hypothesis, that the map's order is no better than a
  random one, its AUC is lower than all but k of n random ones with a probability of (k + 1)/(n + 1)
  at most. Source: Davison and Hinkley (1997), "Bootstrap methods and their application", 4.2.
"""

from collections.abc import Sequence

import numpy as np

from nsfw_app.models.explain.cells import Values

ERROR_RATE = 0.05  # how often a map that is no better than random is shown, at most
RANDOM_ORDERS = 19  # the fewest with which a test can have this error rate
EQUAL = 1e-4  # differences of the AUC below it are rounding errors of the backend


def auc(shares: Sequence[float], scores: Sequence[float]) -> float:
    """The area under a score over the covered part of the image, by the trapezoidal rule.

    Args:
        shares: The covered parts, rising from 0 to 1.
        scores: The score at each.
    """
    return float(np.trapezoid(scores, shares))


def p_value(deletion_auc: float, random_aucs: Sequence[float] | Values) -> float:
    """The share of orders, this one included, that lower the score at least as fast."""
    as_good = np.count_nonzero(np.asarray(random_aucs) <= deletion_auc + EQUAL)
    return (1 + int(as_good)) / (1 + len(random_aucs))


def is_better_than_random(deletion_auc: float, random_aucs: Sequence[float] | Values) -> bool:
    """Whether a map is better than random ones, with an error rate of `ERROR_RATE` at most."""
    return p_value(deletion_auc, random_aucs) <= ERROR_RATE
