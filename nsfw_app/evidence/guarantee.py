"""A threshold whose recall is guaranteed, however often one looks.

Each image contributes x = (y / p if reviewed else 0) * ((score >= t) - recall): y is 1 for an
unsafe image, p the probability with which it was drawn. Its expectation is negative exactly when
the true recall at t is below the target. A bettor who stakes a fixed fraction on x being positive
gains capital on average only if the target is reached. By Ville's inequality the capital reaches
1 / (1 - confidence) with a probability of at most 1 - confidence otherwise, at any time.

- The bets are mixed: several fractions, each with and without scores, and with two limits of the
  stake. With scores, x is replaced by an estimate of the same expectation that predicts y by the
  score of images at or above 0.5 and corrects the prediction with the reviewed ones. It varies less
  where the model is right, and stays valid where it is wrong.
- The stake is limited by the smallest probability of the images before, a few exceptions aside, so
  that no image can ruin a bet. Half of the bets take the latest thousand images for that, so that
  rates may rise. An image with a smaller probability than that costs a fixed part of the capital
  with either label.
- Candidates are tested from the lowest, and testing stops at the first that is not certified. That
  needs no correction, because recall falls with the threshold.
- An image that was drawn and is not settled counts as the worst case: unsafe below a candidate,
  safe from it upwards. Settling it later never lowers the capital.
- Where it is not known which images were drawn, the capital counts up to the last label, and only
  after blocks of images up to which about as many labels have come as draws are expected. What may
  be hidden beyond the outermost labels is the worst case; see `unknown_draws`. That holds for
  labels whose order depends neither on scores nor on labels; only `unsettled` makes it hold for
  all.
- Each look must have all images of the looks before. One that leaves out the oldest is a new try.

docs/evidence.md derives each of these claims.

Sources: Ville (1939); Waudby-Smith and Ramdas (2024), Estimating means of bounded random variables
by betting; Waudby-Smith, Wu, Ramdas, Karampatziakis and Mineiro (2024), Anytime-valid off-policy
inference for contextual bandits, for weights and the predicted part; Maurer, Hothorn and Lehmacher
(1995), for the fixed sequence.
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from nsfw_app.evidence.sample import SAFE, UNSAFE, Sample
from nsfw_app.evidence.unknown_draws import OuterImages, complete, outer_images

FRACTIONS = np.array([0.3, 0.6, 0.85])[:, np.newaxis]  # of the largest stake
WARM_UP = 50  # images without a bet, from which the smallest probability is learned
EXCEPTIONS = 4  # images with a smaller probability that do not lower the stakes yet
RECENT, RECENT_STEP = 1000, 500  # images whose probabilities limit the stakes of half of the bets
PREDICTED_FROM = 0.5  # scores from here upwards predict that an image is unsafe
LEAST_BLOCK, BLOCK_SHARE = 16, 200  # images of a block: 16, or half a percent of those before it
CANDIDATES = np.arange(1, 100) / 100
LEAST_BOUND = 0.5  # of recall that `recall_bounds` looks for
TOLERANCE = 0.0001  # of the bound of a certificate


class NoForecast(StrEnum):
    """Why it is not said how many more reviews a certificate needs."""

    CERTIFIED = "certified"  # a threshold is certified already
    NOT_SHOWN = "not_shown"  # the reviews so far speak against the target, or not for it
    NO_REVIEWS = "no_reviews"  # no image has a settled label, or labels come in an unclear order


@dataclass(frozen=True, slots=True)
class Certificate:
    """The result of a test for a recall.

    - `threshold` is the highest that is certified; None where none is.
    - `recall_lower` is the lower confidence bound of the recall at that threshold.
    - `more_reviews` is about how many more sampled reviews are needed when none is certified; None
      for the reason in `no_forecast`, which is None where there is a number.
    - `reviews` is the number of settled labels, `unsettled` that of drawn images without one.
    """

    threshold: float | None
    recall_lower: float | None
    more_reviews: int | None
    recall: float
    confidence: float
    reviews: int
    unsettled: int
    no_forecast: NoForecast | None


def certify_threshold(
    sample: Sample,
    *,
    recall: float,
    confidence: float,
    candidates: NDArray[Any] | None = None,
) -> Certificate:
    """The highest threshold whose recall is shown to be at least a target.

    The guarantee: if this is called as often as one likes while images and labels are added, and
    the first certificate is adopted, the true recall at its threshold is below the target with a
    probability of at most 1 - confidence. It is for one target, chosen before the first look, and
    for images that are added only: a window that moves along them has no guarantee.

    With `unsettled` in the sample, which the product always passes, labels may come in any order.
    Without it they must come in an order that depends neither on scores nor on labels, such as in
    order of arrival, at random, or late by whole blocks. Some orders by score were simulated, see
    docs/evidence.md; others break it, for example a narrow range with the misses that comes last.

    Args:
        sample: The images that arrived, in order of arrival.
        recall: The target, in (0, 1).
        confidence: In (0, 1).
        candidates: Shape (k,), thresholds in [0, 1], chosen without knowledge of the labels; None
            for 0.01 to 0.99 in steps of 0.01.

    Raises:
        ValueError: A value leaves its range.
    """
    for name, value in (("recall", recall), ("confidence", confidence)):
        if not 0 < value < 1:
            raise ValueError(f"`{name}` is {value}, expected a number between 0 and 1.")
    thresholds = np.unique(CANDIDATES if candidates is None else np.asarray(candidates, float))
    if not np.all((thresholds >= 0) & (thresholds <= 1)):
        raise ValueError("A candidate is not between 0 and 1.")
    bets = _Bets(sample, thresholds)
    needed = -math.log1p(-confidence)
    best = None
    for threshold in thresholds:
        if bets.log_capital(threshold, recall).max(initial=0.0) < needed:
            break
        best = float(threshold)
    if best is not None:
        more: int | NoForecast = NoForecast.CERTIFIED
    elif len(thresholds):
        more = bets.more_reviews(thresholds[0], recall, needed)
    else:
        more = NoForecast.NOT_SHOWN
    return Certificate(
        threshold=best,
        recall_lower=None if best is None else bets.lower_bound(best, recall, needed),
        more_reviews=None if isinstance(more, NoForecast) else more,
        recall=recall,
        confidence=confidence,
        reviews=sample.reviews,
        unsettled=sample.open_draws,
        no_forecast=more if isinstance(more, NoForecast) else None,
    )


def recall_bounds(
    sample: Sample, *, confidence: float, thresholds: NDArray[Any]
) -> NDArray[np.float64]:
    """Lower confidence bounds of the recall at each threshold, valid at any time.

    Each has the confidence by itself, not all of them together.

    The highest threshold with a bound of at least a target, below which all have one, is the one
    that `certify_threshold` certifies for that target, to within 0.001.

    Args:
        sample: The images that arrived, in order of arrival.
        confidence: In (0, 1).
        thresholds: Shape (k,), rising.

    Returns:
        Shape (k,), falling; 0 where less than 0.5 is shown.
    """
    bets, needed = _Bets(sample, thresholds), -math.log1p(-confidence)
    found = np.zeros(len(thresholds))
    upper = 1.0
    for at, threshold in enumerate(thresholds):
        if bets.log_capital(threshold, LEAST_BOUND).max(initial=0.0) < needed:
            break
        if bets.log_capital(threshold, upper).max(initial=0.0) < needed:
            upper = bets.lower_bound(threshold, LEAST_BOUND, needed, upper=upper, tolerance=0.001)
        found[at] = upper
    return found


class _Bets:
    """Bets on a sample at some thresholds, prepared for many targets.

    - Images that change the capital equally are counted, by block of images: those with the same
      label, probabilities, and scores between the same thresholds. The others change nothing.
    - The capital is known after each whole block. Blocks grow with the number of images, so that
      a million costs little more than a thousand; which images are in a block never changes.
    """

    def __init__(self, sample: Sample, thresholds: NDArray[Any]) -> None:
        self._reviews = sample.reviews
        smallest = _smallest_before(sample.probabilities)
        bettable = np.arange(len(sample)) >= WARM_UP
        rarer = np.any([bettable & (sample.probabilities < each) for each in smallest], axis=0)
        predicted = sample.scores >= PREDICTED_FROM
        counts = (sample.labels == UNSAFE) | sample.unsettled | predicted
        ends = _block_ends(len(sample))
        at = np.flatnonzero((bettable & counts) | rarer)
        at = at[at < ends[-1]] if len(ends) else at[:0]
        edges = np.unique(np.append(thresholds, PREDICTED_FROM))
        # What the score predicts is rounded, so that images with nearly the same are counted.
        predictions = np.where(predicted, np.round(sample.scores, 2), 0.0)[at]
        columns = (
            np.searchsorted(edges, sample.scores[at], side="right"),
            predictions,
            sample.labels[at],
            sample.unsettled[at],
            sample.probabilities[at],
            *(each[at] for each in smallest),
        )
        first, kinds = _kinds(columns)
        self._counts = csr_matrix(
            (np.ones(len(at)), (np.searchsorted(ends, at, side="right"), kinds)),
            shape=(len(ends), len(first)),
        )
        self._predictions = predictions[first]
        chosen = at[first]
        self._scores, self._labels = sample.scores[chosen], sample.labels[chosen]
        self._unsettled = sample.unsettled[chosen]
        self._probabilities = sample.probabilities[chosen]
        self._smallest = [each[chosen] for each in smallest]
        self._complete = np.ones(len(ends), bool)
        self._outer: list[tuple[_Outer, ...]] = []
        if not sample.draws_known:
            self._complete = complete(sample, ends)
            if self._complete.any():
                self._outer = [
                    tuple(_Outer(sample, side, smallest, self._complete) for side in half)
                    for half in outer_images(sample, ends)
                ]

    def log_capital(self, threshold: float, recall: float) -> NDArray[np.float64]:
        """Shape (blocks,): the logarithm of the mixed capital after each block of images.

        It is minus infinity where the labels of the images so far are not complete.
        """
        paths = self._paths(threshold, recall)
        if self._outer:
            paths = paths + self._changes(threshold, recall)
        capital = np.logaddexp.reduce(paths, axis=0) - math.log(len(paths))
        return np.where(self._complete, capital, -np.inf)

    def lower_bound(
        self,
        threshold: float,
        recall: float,
        needed: float,
        *,
        upper: float = 1.0,
        tolerance: float = TOLERANCE,
    ) -> float:
        """The highest recall that the capital shows at a threshold; `recall` is shown already."""
        lower = recall
        while upper - lower > tolerance:
            middle = (lower + upper) / 2
            if self.log_capital(threshold, middle).max(initial=0.0) >= needed:
                lower = middle
            else:
                upper = middle
        return lower

    def more_reviews(self, threshold: float, recall: float, needed: float) -> int | NoForecast:
        """About how many more reviews certify a threshold, if they are like those so far.

        Each bet goes on to grow as it did for each review so far. What may be hidden beyond the
        outermost labels does not grow: it stays what it was on average.
        """
        paths = self._paths(threshold, recall)[:, self._complete]
        if not self._reviews or not paths.shape[1]:
            return NoForecast.NO_REVIEWS
        growth = paths[:, -1] / self._reviews
        if growth.max() <= 0:
            return NoForecast.NOT_SHOWN
        fixed = self._changes(threshold, recall)[:, self._complete].mean(axis=1)
        needed += math.log(len(growth))
        enough, most = 0.0, (needed - float(fixed.min())) / float(growth.max())
        while most - enough > 0.5:
            middle = (enough + most) / 2
            if np.logaddexp.reduce(growth * middle + fixed) < needed:
                enough = middle
            else:
                most = middle
        return max(1, math.ceil(most) - self._reviews)

    def _paths(self, threshold: float, recall: float) -> NDArray[np.float64]:
        """Shape (bets, blocks): the logarithm of the capital of each bet."""
        flagged = self._scores >= threshold
        side = flagged - recall
        unsafe = np.where(self._unsettled, ~flagged, self._labels == UNSAFE)
        seen = self._unsettled | (self._labels >= SAFE)
        predicted_from = max(threshold, PREDICTED_FROM)
        prediction = np.where(self._scores >= predicted_from, self._predictions, 0.0)
        weights = 1 / self._probabilities
        plain = np.where(seen, unsafe * weights, 0.0) * side
        informed = (prediction + np.where(seen, (unsafe - prediction) * weights, 0.0)) * side
        steps = []
        for smallest in self._smallest:
            rarer = self._probabilities < smallest
            stakes = FRACTIONS * smallest / max(recall, 1 - recall)
            cost = np.log1p(-FRACTIONS * smallest)
            steps += [
                np.where(rarer, cost, np.log1p(stakes * np.where(rarer, 0.0, x)))
                for x in (plain, informed)
            ]
        return np.asarray((self._counts @ np.concatenate(steps).T).cumsum(axis=0).T)

    def _changes(self, threshold: float, recall: float) -> NDArray[np.float64]:
        """Shape (bets, blocks): what images that may be hidden change of that; 0 without any."""
        found = np.zeros((2 * len(self._smallest) * len(FRACTIONS), len(self._complete)))
        for half in self._outer:  # labels come by rising scores or by falling ones
            found += np.minimum(*(side.changes(threshold, recall) for side in half))
        return found


class _Outer:
    """The images that may be hidden beyond the outermost labels, as the worst case in bets.

    A flagged one gains nothing, another one loses what an unsafe image that is drawn with its
    probability loses on average: no order of the labels by score makes that too little.
    """

    def __init__(
        self,
        sample: Sample,
        outer: OuterImages,
        smallest: list[NDArray[np.float64]],
        complete: NDArray[np.bool_],
    ) -> None:
        self._blocks = len(complete)
        counted = np.append(0, complete.cumsum())
        chosen = (outer.images >= WARM_UP) & (counted[outer.last] > counted[outer.first])
        images = outer.images[chosen]
        self._first, self._last = outer.first[chosen], outer.last[chosen]
        self._scores, self._probabilities = sample.scores[images], sample.probabilities[images]
        self._smallest = [each[images] for each in smallest]

    def changes(self, threshold: float, recall: float) -> NDArray[np.float64]:
        """Shape (bets, blocks): what is added to the logarithm of the capital of each bet."""
        flagged = self._scores >= threshold
        predicted = self._scores >= max(threshold, PREDICTED_FROM)
        gain = np.where(predicted, np.round(self._scores, 2), 0.0) * (1 - recall)
        steps = []
        for smallest in self._smallest:
            stakes = FRACTIONS * smallest / max(recall, 1 - recall)
            missed = np.log1p(-stakes * recall)
            rarer = self._probabilities < smallest  # these cost the same with any label
            steps += [
                np.where(rarer, 0.0, np.where(flagged, -counted, missed))
                for counted in (np.zeros_like(missed), np.log1p(stakes * gain))
            ]
        losses = np.concatenate(steps).T
        found = np.zeros((self._blocks + 1, losses.shape[1]))
        np.add.at(found, self._first, losses)
        np.subtract.at(found, self._last, losses)
        return np.asarray(found[:-1].cumsum(axis=0).T)


def _block_ends(count: int) -> NDArray[np.int64]:
    """Shape (blocks,): after how many images each whole block of the first `count` ends."""
    ends, end = [], 0
    while (end := end + max(LEAST_BLOCK, end // BLOCK_SHARE)) <= count:
        ends.append(end)
    return np.array(ends, np.int64)


def _kinds(columns: tuple[NDArray[Any], ...]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows that are equal in all columns: the first of each kind, and the kind of each row."""
    kinds = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        values, codes = np.unique(column, return_inverse=True)
        kinds = kinds * len(values) + codes
    _, first, kinds = np.unique(kinds, return_index=True, return_inverse=True)
    return first, kinds


def _smallest_before(probabilities: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Shapes (n,): the smallest probability of the images before each, `EXCEPTIONS` aside.

    The stake at an image must not depend on its own probability, which its score decides. The first
    array is of all images before; the second, where it differs, of the latest `RECENT` ones, so
    that audit rates that rise lead to higher stakes.
    """
    count = len(probabilities)
    of_all = np.ones(count)
    of_all[WARM_UP:] = _follow(probabilities[WARM_UP:], probabilities[:WARM_UP])
    recent = of_all.copy()
    for start in range(RECENT, count, RECENT_STEP):
        window = probabilities[start - RECENT : start]
        step = slice(start, start + RECENT_STEP)
        recent[step] = _follow(
            probabilities[step], np.partition(window, EXCEPTIONS)[: EXCEPTIONS + 1]
        )
    return [of_all] if np.array_equal(of_all, recent) else [of_all, recent]


def _follow(probabilities: NDArray[np.float64], before: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shape (n,): the smallest probability before each image and in `before`, exceptions aside."""
    found = np.ones(len(probabilities))
    lowest = sorted(before)[: EXCEPTIONS + 1]
    at = 0
    while at < len(probabilities):
        current = lowest[EXCEPTIONS] if len(lowest) > EXCEPTIONS else 1.0
        found[at:] = current
        lower = probabilities[at:] < current
        step = int(lower.argmax())
        if not lower[step]:
            break
        at += step + 1
        lowest = sorted([*lowest, float(probabilities[at - 1])])[: EXCEPTIONS + 1]
    return found
