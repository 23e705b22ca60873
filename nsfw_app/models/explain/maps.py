"""Maps: how much each cell adds to the nsfw score, by occlusion or from random versions.

- `occlusion` covers one cell at a time. Source: Zeiler and Fergus (2014), "Visualizing and
  understanding convolutional networks".
- `rise` correlates, over random versions, whether a cell is covered with the score.
  Source: Petsiuk, Das and Saenko (2018), "RISE: randomized input sampling for explanation of
  black-box models". Versions come from random orders of the cells, so that the same versions show
  how a random map does.
"""

import numpy as np
from numpy.typing import NDArray

from nsfw_app.models.explain.cells import Covered, Values

Order = NDArray[np.intp]  # numbers of the visible cells, those that are covered first at the front


def random_orders(visible: Covered, count: int, rng: np.random.Generator) -> list[Order]:
    """Random orders of the visible cells."""
    cells = np.flatnonzero(visible)
    return [rng.permutation(cells) for _ in range(count)]


def order_of(values: Values, visible: Covered, rng: np.random.Generator) -> Order:
    """The visible cells by value, the highest first; equal ones in random order."""
    cells = np.flatnonzero(visible)
    shuffled: Order = rng.permutation(cells)
    ordered: Order = shuffled[np.argsort(-values.ravel()[shuffled], kind="stable")]
    return ordered


def covered_first(order: Order, share: float, shape: tuple[int, int]) -> Covered:
    """The version of an image in which the first cells of an order are covered.

    Args:
        order: Of the cells.
        share: The part of them that is covered, in [0, 1].
        shape: Rows and columns of the grid.
    """
    covered = np.zeros(shape, dtype=np.bool_)
    covered.flat[order[: round(share * len(order))]] = True
    return covered


def single_cells(visible: Covered) -> list[Covered]:
    """Versions in which one visible cell is covered, in the order of the cells."""
    versions = []
    for cell in np.flatnonzero(visible):
        covered = np.zeros(visible.shape, dtype=np.bool_)
        covered.flat[cell] = True
        versions.append(covered)
    return versions


def occlusion(visible: Covered, score: float, scores: Values) -> Values:
    """How much covering each cell lowers the score; may be negative.

    Args:
        visible: The cells.
        score: Of the image.
        scores: Of `single_cells`.
    """
    values = np.zeros(visible.shape)
    values[visible] = score - scores
    return values


def rise(covered: NDArray[np.float64], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """The covariance of each cell's being covered with how far the score falls.

    Args:
        covered: Shape (orders, shares, cells): 1 where a version has a cell covered, else 0.
        scores: Shape (..., orders, shares).

    Returns:
        Shape (..., cells).
    """
    # More covered cells lower every score: versions are compared with those of the same share.
    fall = scores.mean(axis=-2, keepdims=True) - scores
    centered = (covered - covered.mean(axis=0)).reshape(-1, covered.shape[-1])
    found: NDArray[np.float64] = fall.reshape(*scores.shape[:-2], -1) @ centered / len(centered)
    return found


def smoothed(values: Values) -> Values:
    """The values averaged a little with their neighbors': weights 1, 6, 1 along each side.

    So few versions say little about one cell alone. More weight on neighbors would hide evidence
    in a single cell.

    Args:
        values: Shape (..., rows, columns).
    """
    padded = np.pad(values, [(0, 0)] * (values.ndim - 2) + [(1, 1), (1, 1)], mode="edge")
    rows = padded[..., :-2, :] + 6 * padded[..., 1:-1, :] + padded[..., 2:, :]
    found: Values = (rows[..., :-2] + 6 * rows[..., 1:-1] + rows[..., 2:]) / 64
    return found
