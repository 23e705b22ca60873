"""Logistic regression over a model's features, regularized toward the model itself.

- The log-odds of the current model are an offset, and what is fitted is a linear function that is
  added to them. The penalty is on that function, so that few labels change the model little, and
  what the labels say nothing about stays as it is.
- Images have sampling weights. Those that the current model gets wrong are often more frequent than
  they occur, and all have the label against it: without weights the function would turn scores
  around where labels are noise.
- Both labels weigh the same in sum, which alone would move all log-odds, as would a model that is
  not calibrated to the share of unsafe images. How far an intercept alone moves them is part of
  the offset while the function is fitted, so that labels that the current model explains add
  nothing, nor to the intercept, which has no penalty.
- Labels say nothing about the level of all scores: of the images that the current model gets right,
  it is the same after the fit. Its errors have a part in the intercepts, before they are learned.
- The penalty is the one with the lowest cross-validated log loss. Near duplicates are in one fold.

Sources: Hoerl and Kennard (1970), for the penalty; King and Zeng (2001), for weights, and for the
correction of the intercept where the current model is calibrated.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize
from scipy.special import expit, logit
from sklearn.model_selection import StratifiedGroupKFold
from threadpoolctl import threadpool_limits

from nsfw_app.models.training.head import Floats, HeadUpdate

FOLDS = 5
# Of the squared weights of standardized features, next to the mean log loss; the strongest first.
PENALTIES = (10.0, 1.0, 0.1, 1e-2, 1e-3, 1e-4)
MAX_ITERATIONS = 500


@dataclass(frozen=True, slots=True)
class FittedHead:
    """A function to add to the head, the penalty it was fitted with, and mean log losses.

    `losses` are cross-validated, by penalty; `current_loss` is that of the current model. Both
    labels weigh the same in them, and both models have the level of scores that fits to that.
    """

    update: HeadUpdate
    penalty: float
    losses: dict[float, float]
    current_loss: float


def fit_head(
    features: NDArray[np.float32],
    odds: Floats,
    unsafe: NDArray[np.bool_],
    groups: NDArray[np.int64],
    weights: Floats,
    *,
    seed: int,
    threshold: float = 0.5,
) -> FittedHead:
    """Fit a head, its penalty chosen by cross-validation.

    Args:
        features: Shape (n, features).
        odds: Shape (n,), log-odds of the current model.
        unsafe: Shape (n,), whether the label is nsfw.
        groups: Shape (n,), the same number for near duplicates.
        weights: Shape (n,), sampling weights.
        seed: Of the folds.
        threshold: Score from which on the current model labels an image nsfw.
    """
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    level, shares = best_level(odds, unsafe, weights), class_weights(unsafe, weights)
    losses = dict.fromkeys(PENALTIES, 0.0)
    for train, test in folds.split(features, unsafe, groups):
        start = None
        for penalty in PENALTIES:
            start = fit_update(
                features[train],
                odds[train],
                unsafe[train],
                weights[train],
                penalty=penalty,
                threshold=threshold,
                start=start,
            )
            moved = odds[test] + features[test] @ start.weights + start.bias
            losses[penalty] += log_loss(moved + level, unsafe[test], shares[test]) / FOLDS
    penalty = min(losses, key=losses.__getitem__)
    update = fit_update(features, odds, unsafe, weights, penalty=penalty, threshold=threshold)
    return FittedHead(update, penalty, losses, log_loss(odds + level, unsafe, shares))


def fit_update(
    features: NDArray[np.float32],
    odds: Floats,
    unsafe: NDArray[np.bool_],
    weights: Floats,
    *,
    penalty: float,
    threshold: float = 0.5,
    start: HeadUpdate | None = None,
) -> HeadUpdate:
    """Fit the function to add, with one penalty.

    Args:
        features: Shape (n, features).
        odds: Shape (n,), log-odds of the current model.
        unsafe: Shape (n,), whether the label is nsfw; both must occur.
        weights: Shape (n,), sampling weights.
        penalty: Of the squared weights.
        threshold: Score from which on the current model labels an image nsfw.
        start: Where to start from, which saves time; the result does not depend on it.
    """
    mean, spread = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)
    spread[spread == 0] = 1.0  # a feature that is constant gets no weight
    x = (features - mean) / spread
    signs = np.where(unsafe, 1.0, -1.0)
    shares = class_weights(unsafe, weights) / len(unsafe)
    offset = odds + best_level(odds, unsafe, weights)

    def loss(values: Floats) -> tuple[float, Floats]:
        margins = signs * (offset + x @ values[:-1] + values[-1])
        slopes = -shares * signs * expit(-margins)
        total = shares @ np.logaddexp(0, -margins) + penalty / 2 * values[:-1] @ values[:-1]
        return float(total), np.append(x.T @ slopes + penalty * values[:-1], slopes.sum())

    first = np.zeros(x.shape[1] + 1)
    if start is not None:
        first = np.append(start.weights * spread, start.bias + start.weights @ mean)
    # Products of this size take longer in several threads, 13 times the CPU time on two cores.
    with threadpool_limits(1, user_api="blas"):
        options = {"maxiter": MAX_ITERATIONS}
        found = minimize(loss, first, jac=True, method="L-BFGS-B", options=options)
    slope = found.x[:-1] / spread
    right = (odds >= logit(threshold)) == unsafe
    if len(np.unique(unsafe[right])) < 2:  # a model that gives all images the same label
        return HeadUpdate(slope, float(found.x[-1] - slope @ mean))
    before, after = (
        best_level(each[right], unsafe[right], weights[right])
        for each in (odds, odds + features @ slope)
    )
    return HeadUpdate(slope, after - before)


def class_weights(unsafe: NDArray[np.bool_], weights: Floats) -> Floats:
    """Sampling weights, shape (n,), changed so that both labels weigh the same; their mean is 1."""
    share = _unsafe_share(unsafe, weights)
    balanced: Floats = np.where(unsafe, 0.5 / share, 0.5 / (1 - share)) * weights / weights.mean()
    return balanced


def best_level(odds: Floats, unsafe: NDArray[np.bool_], weights: Floats) -> float:
    """What to add to all log-odds for the lowest log loss, where both labels weigh the same.

    Args:
        odds: Shape (n,), log-odds of a model.
        unsafe: Shape (n,), whether the label is nsfw; both must occur.
        weights: Shape (n,), sampling weights.
    """
    signs, shares = np.where(unsafe, 1.0, -1.0), class_weights(unsafe, weights)

    def slope(level: float) -> float:
        return float(-shares @ (signs * expit(-signs * (odds + level))))

    limit = float(np.abs(odds).max()) + 50.0  # where all are certain to have one label
    return float(brentq(slope, -limit, limit, maxiter=MAX_ITERATIONS))


def _unsafe_share(unsafe: NDArray[np.bool_], weights: Floats) -> float:
    return float(np.clip(weights @ unsafe / weights.sum(), 1e-9, 1 - 1e-9))


def log_loss(odds: Floats, unsafe: NDArray[np.bool_], weights: Floats) -> float:
    """Weighted mean log loss of log-odds."""
    return float(np.average(np.logaddexp(0, np.where(unsafe, -odds, odds)), weights=weights))
