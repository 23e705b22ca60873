"""Calibrated probabilities: what share of the images with a score is unsafe.

- Three methods are fitted: Platt scaling and beta calibration, which are smooth, and isotonic
  regression, which needs many reviews. The one with the lowest cross-validated log loss is used, if
  it is better than the scores as they are by more than the standard error of the difference.
  Otherwise the scores are left as they are.
- The choice itself is cross-validated: the measures that are shown are of reviews that had no part
  in choosing or fitting (nested cross-validation).
- Reviews count with the number of images that they represent, everywhere; see `strata`.
- Calibrated probabilities are for display and exports. Verdicts are computed from the scores.

Sources: Platt (1999); Zadrozny and Elkan (2002), for isotonic regression; Kull, Silva Filho and
Flach (2017), Beta calibration. The calibration error is in `calibration_error`.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from betacal import BetaCalibration
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

from nsfw_app.evidence.calibration_error import calibration_error
from nsfw_app.evidence.curve import EDGE, Curve, Method, logs
from nsfw_app.evidence.estimates import Interval
from nsfw_app.evidence.sample import UNSAFE, Sample
from nsfw_app.evidence.strata import Strata

FOLDS, INNER_FOLDS = 5, 3
ERRORS = 1.5  # standard errors by which a method must be better than the scores as they are
MIN_LABELS = 20  # of each label; with fewer, a fold has hardly any
RESAMPLES = 200
CONFIDENCE = 0.95
SEED = 0  # of folds and resamples: the same reviews give the same calibration
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Comparison:
    """A measure of the raw scores and of the calibrated probabilities, with 95 % intervals."""

    raw: Interval
    calibrated: Interval


@dataclass(frozen=True, slots=True)
class Calibration:
    """A fitted calibration, and how well it does on reviews that it was not fitted to.

    `brier`, `log_loss` and `ece` (expected calibration error) are cross-validated: each review is
    judged by a curve whose method was chosen, and which was fitted, by others. Lower is better.
    """

    curve: Curve
    reviews: int
    brier: Comparison
    log_loss: Comparison
    ece: Comparison

    @property
    def method(self) -> Method:
        """The method that was chosen."""
        return self.curve.method

    def __call__(self, scores: NDArray[Any]) -> Floats:
        """Shape (n,): the probabilities of scores of shape (n,), both in [0, 1]."""
        return self.curve(scores)


def fit_calibration(sample: Sample) -> Calibration | None:
    """Fit a calibration to the reviewed images of a sample.

    Returns:
        None with too few reviews: fewer than `MIN_LABELS` of either label.
    """
    reviewed = sample.reviewed
    scores, weights = sample.scores[reviewed], Strata(sample).weights
    unsafe = sample.labels[reviewed] == UNSAFE
    if min(np.count_nonzero(unsafe), np.count_nonzero(~unsafe)) < MIN_LABELS:
        return None
    held_out = np.empty(len(scores))
    for fitted, left_out in _folds(unsafe, FOLDS):
        some = scores[fitted], unsafe[fitted], weights[fitted]
        held_out[left_out] = _fit(_choose(*some, folds=INNER_FOLDS), *some)(scores[left_out])
    method = _choose(scores, unsafe, weights, folds=FOLDS)
    if method is Method.NONE or not _is_better(
        _log_losses(scores, unsafe) - _log_losses(held_out, unsafe), weights
    ):
        method, held_out = Method.NONE, scores

    def compared(measure: Callable[[Floats, NDArray[np.bool_], Floats], float]) -> Comparison:
        return Comparison(
            *(_with_interval(measure, p, unsafe, weights) for p in (scores, held_out))
        )

    return Calibration(
        _fit(method, scores, unsafe, weights),
        len(scores),
        brier=compared(_brier),
        log_loss=compared(_log_loss),
        ece=Comparison(*(_error(p, unsafe, weights) for p in (scores, held_out))),
    )


def _folds(
    unsafe: NDArray[np.bool_], count: int
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Indices to fit to, and those that are left out, with both labels in each part."""
    splitter = StratifiedKFold(count, shuffle=True, random_state=SEED)
    return list(splitter.split(unsafe[:, None], unsafe))


def _choose(scores: Floats, unsafe: NDArray[np.bool_], weights: Floats, *, folds: int) -> Method:
    """The method with the lowest cross-validated log loss, if that is clearly below the scores'."""
    raw = _log_losses(scores, unsafe)
    gains = {method: np.empty(len(scores)) for method in Method if method is not Method.NONE}
    for fitted, left_out in _folds(unsafe, folds):
        for method, gain in gains.items():
            curve = _fit(method, scores[fitted], unsafe[fitted], weights[fitted])
            found = _log_losses(curve(scores[left_out]), unsafe[left_out])
            gain[left_out] = raw[left_out] - found
    best = max(gains, key=lambda method: float(weights @ gains[method]))
    return best if _is_better(gains[best], weights) else Method.NONE


def _is_better(gains: Floats, weights: Floats) -> bool:
    """Whether the mean gain is above 0 by more than some of its standard errors."""
    mean = float(np.average(gains, weights=weights))
    error = float(np.sqrt(weights**2 @ (gains - mean) ** 2)) / weights.sum()
    return bool(mean > ERRORS * error)


def _fit(method: Method, scores: Floats, unsafe: NDArray[np.bool_], weights: Floats) -> Curve:
    if method is Method.NONE:
        return Curve(method)
    if method is Method.ISOTONIC:
        isotonic = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
        isotonic.fit(scores, unsafe, sample_weight=weights)
        # No share is 0 or 1 for having been seen a few times: half a review of the other label.
        half = 0.5 / (len(scores) + 1)
        points = np.clip(isotonic.y_thresholds_, half, 1 - half)
        return Curve(
            method,
            scores=tuple(map(float, isotonic.X_thresholds_)),
            probabilities=tuple(map(float, points)),
        )
    clipped = np.clip(scores, EDGE, 1 - EDGE)
    weights = weights / weights.mean()
    if method is Method.BETA:
        with warnings.catch_warnings():  # the library turns warnings off for the whole process
            beta = BetaCalibration("abm").fit(clipped[:, None], unsafe, sample_weight=weights)
        a, b, _ = beta.calibrator_.map_
        return Curve(method, (float(a), float(b), float(beta.calibrator_.lr_.intercept_[0])))
    odds = logs(clipped).sum(axis=1, keepdims=True)
    with warnings.catch_warnings():  # equal scores have no slope; the solver then takes another way
        warnings.simplefilter("ignore")
        platt = LogisticRegression(C=np.inf, solver="newton-cholesky")
        platt.fit(odds, unsafe, sample_weight=weights)
    slope = float(platt.coef_[0, 0])
    return Curve(method, (slope, slope, float(platt.intercept_[0])))


def _brier(probabilities: Floats, unsafe: NDArray[np.bool_], weights: Floats) -> float:
    return float(weights @ (probabilities - unsafe) ** 2 / weights.sum())


def _log_loss(probabilities: Floats, unsafe: NDArray[np.bool_], weights: Floats) -> float:
    return float(weights @ _log_losses(probabilities, unsafe) / weights.sum())


def _log_losses(probabilities: Floats, unsafe: NDArray[np.bool_]) -> Floats:
    clipped = np.clip(probabilities, EDGE, 1 - EDGE)
    return np.asarray(-np.log(np.where(unsafe, clipped, 1 - clipped)))


def _with_interval(
    measure: Callable[[Floats, NDArray[np.bool_], Floats], float],
    probabilities: Floats,
    unsafe: NDArray[np.bool_],
    weights: Floats,
) -> Interval:
    """A measure with its percentile bootstrap interval (Efron 1979)."""
    count = len(probabilities)
    order = np.argsort(probabilities, kind="stable")  # once, in place of for each resample
    probabilities, unsafe, weights = probabilities[order], unsafe[order], weights[order]
    rng = np.random.default_rng(SEED)
    values = []
    for _ in range(RESAMPLES):
        times = np.bincount(rng.integers(0, count, count), minlength=count)
        values.append(measure(probabilities, unsafe, weights * times))
    tail = (1 - CONFIDENCE) / 2
    lower, upper = np.quantile(values, [tail, 1 - tail])
    value = measure(probabilities, unsafe, weights)
    return Interval(value, min(float(lower), value), max(float(upper), value), count)


def _error(probabilities: Floats, unsafe: NDArray[np.bool_], weights: Floats) -> Interval:
    """The expected calibration error with its interval."""
    found = calibration_error(probabilities, unsafe, weights)
    return Interval(found.value, found.lower, found.upper, len(probabilities))
