"""Estimates of a model's errors from a weighted sample, with confidence intervals.

- A review counts with the inverse of the probability with which the image was drawn (Hajek 1971),
  scaled within strata to the images that arrived; see `strata`.
- The intervals are computed by strata. In each, the number of images that arrived is known, and the
  share of unsafe ones has its confidence distribution, also where no unsafe one was seen: half of
  its draws are from the lower distribution of Clopper and Pearson, half from the upper one (mid-p).
  The two kinds of errors are combined by drawing from both: a measure takes the draws that make it
  low from the one half, those that make it high from the other (Fay, Proschan and Brittain 2015).
- They treat the images as a sample of all that the model will see, and are for a fixed time: to
  look until a number suits, use the guarantee instead.
- Draws are seeded: the same sample gives the same intervals.

Sources: Hajek (1971), in Foundations of statistical inference; Clopper and Pearson (1934); Fay,
Proschan and Brittain (2015), Combining one-sample confidence procedures for inference in the
two-sample case; Korn and Graubard (1998), Confidence intervals for proportions with small expected
number of positive counts estimated from survey data, for the effective number of reviews.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from nsfw_app.evidence.sample import UNSAFE, Sample
from nsfw_app.evidence.strata import Cells, Strata

DRAWS = 2000
PSEUDO_REVIEWS = 0.1  # of `proportion`
SEED = 0
PREVALENCE_SPLIT = 0.5  # the score that divides strata for the prevalence, which has no threshold
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """A number with its confidence interval, which contains it.

    - `value` is None where no review is about it; the interval is then the whole range.
    - `reviews` is the number of labels that it is computed from.
    """

    value: float | None
    lower: float
    upper: float
    reviews: int


@dataclass(frozen=True, slots=True)
class Estimates:
    """What a threshold does to the images that arrived, and how well that is known.

    - `recall`: share of unsafe images that are flagged; `precision`: share of flagged images that
      are unsafe; `prevalence`: share of images that are unsafe; `false_positive_rate`: share of
      safe images that are flagged. All in [0, 1].
    - `missed`: number of unsafe images that are not flagged, as expected of as many images of the
      same kind. `flagged`: number of images with a score of at least the threshold, which is known
      exactly.
    - `images` arrived; `unsettled` of them were drawn and have no label. `hardly_settled`
      images are of strata with too few labels to represent what waits in them.
    """

    threshold: float
    confidence: float
    recall: Interval
    precision: Interval
    prevalence: Interval
    false_positive_rate: Interval
    missed: Interval
    flagged: Interval
    images: int
    unsettled: int
    hardly_settled: int


def estimate(sample: Sample, *, threshold: float, confidence: float = 0.95) -> Estimates:
    """Estimate how a threshold does on the images that arrived.

    Args:
        sample: The images that arrived.
        threshold: In [0, 1]; an image with this score or a higher one is flagged.
        confidence: Of each interval by itself, in (0, 1).

    Raises:
        ValueError: A value leaves its range.
    """
    return Estimator(sample, confidence=confidence).at(threshold)


class Estimator:
    """Estimates of one sample at many thresholds."""

    def __init__(self, sample: Sample, *, confidence: float) -> None:
        if not 0 < confidence < 1:
            raise ValueError(f"The confidence is {confidence}, expected a number between 0 and 1.")
        self._sample, self._confidence = sample, confidence
        self._strata = Strata(sample)
        self._scores = sample.scores[sample.reviewed]
        self._unsafe = sample.labels[sample.reviewed] == UNSAFE

    @property
    def weights(self) -> Floats:
        """Shape (reviews,): how many images each review represents."""
        return self._strata.weights

    def at(self, threshold: float) -> Estimates:
        """All estimates at a threshold."""
        recall, precision, false_positive_rate, missed = self._measures(threshold)
        above = int(np.count_nonzero(self._sample.scores >= threshold))
        return Estimates(
            threshold=threshold,
            confidence=self._confidence,
            recall=recall,
            precision=precision,
            prevalence=self._prevalence(),
            false_positive_rate=false_positive_rate,
            missed=missed,
            flagged=Interval(above, above, above, precision.reviews),
            images=len(self._sample),
            unsettled=self._sample.open_draws,
            hardly_settled=self._strata.hardly_settled,
        )

    def recall_and_precision(self, threshold: float) -> tuple[Interval, Interval]:
        """Two of the estimates."""
        return self._measures(threshold)[:2]

    def _measures(self, threshold: float) -> tuple[Interval, Interval, Interval, Interval]:
        if not 0 <= threshold <= 1:
            raise ValueError(f"The threshold is {threshold}, expected a number from 0 to 1.")
        halves = np.arange(DRAWS) % 2
        drawn = _draw(
            self._strata.cells(threshold),
            more_missed=halves,
            more_found=1 - halves,
            possible=np.array([threshold > 0, True]),
        )
        (missed, found), (passed, mistaken) = drawn
        unsafe, flagged = self._unsafe, self._scores >= threshold
        count = len(self._sample)
        share = self._share(unsafe & ~flagged, np.ones(len(unsafe), bool), missed / max(count, 1))
        return (
            self._share(flagged, unsafe, _ratio(found, missed)),
            self._share(unsafe, flagged, _ratio(found, mistaken)),
            self._share(flagged, ~unsafe, _ratio(mistaken, passed)),
            scaled(share, count),
        )

    def _prevalence(self) -> Interval:
        halves = np.arange(DRAWS) % 2
        cells = self._strata.cells(PREVALENCE_SPLIT)
        unsafe, safe = _draw(
            cells, more_missed=halves, more_found=halves, possible=np.array([True, True])
        ).sum(axis=1)
        everything = np.ones(len(self._unsafe), bool)
        return self._share(self._unsafe, everything, _ratio(unsafe, safe))

    def _share(self, part: NDArray[np.bool_], of: NDArray[np.bool_], draws: Floats) -> Interval:
        """The weighted share of reviews of a kind, with the interval of its draws."""
        reviews = int(np.count_nonzero(of))
        if not reviews:
            return Interval(None, 0.0, 1.0, 0)
        value = _weighted_share(part[of], self.weights[of])
        tail = (1 - self._confidence) / 2
        draws = draws[~np.isnan(draws)]
        lower, upper = np.quantile(draws, [tail, 1 - tail]) if len(draws) else (0.0, 1.0)
        return Interval(
            value, min(value, float(lower)), max(value, min(1.0, float(upper))), reviews
        )


def proportion(part: NDArray[np.bool_], weights: Floats, *, confidence: float) -> Interval:
    """The weighted share of reviews for which something is true, where no strata are known.

    Its interval is that of Jeffreys for the effective number of reviews (Korn and Graubard 1998). A
    tenth of a review of average weight is added to the variance: without it, a number whose rare
    part has large weights would look certain while no such image was drawn.

    Args:
        part: Shape (n,), whether it is true of a review.
        weights: Shape (n,), inverse probabilities of review.
        confidence: In (0, 1).
    """
    if not len(part):
        return Interval(None, 0.0, 1.0, 0)
    value = _weighted_share(part, weights)
    total, squares = float(weights.sum()), float((weights**2).sum())
    if 0 < value < 1:
        residuals = float((weights**2) @ (part - value) ** 2)
        rarer = min(value, 1 - value)
        pseudo = PSEUDO_REVIEWS * (squares / total) ** 2 * (1 - rarer) ** 2
        effective = value * (1 - value) * total**2 / (residuals + pseudo)
    else:
        effective = total**2 / squares
    tail = (1 - confidence) / 2
    shape = value * effective + 0.5, (1 - value) * effective + 0.5
    # Brown, Cai and DasGupta: where nothing was seen on a side, the range ends there.
    lower = 0.0 if value == 0 else float(betaincinv(*shape, tail))
    upper = 1.0 if value == 1 else float(betaincinv(*shape, 1 - tail))
    return Interval(value, min(lower, value), max(upper, value), len(part))


def scaled(share: Interval, count: int) -> Interval:
    """A share of the images as a number of them."""
    value = None if share.value is None else share.value * count
    return Interval(value, share.lower * count, share.upper * count, share.reviews)


def _weighted_share(part: NDArray[np.bool_], weights: Floats) -> float:
    # Exactly 1 where it is true of all, in place of what rounding makes of it.
    return 1.0 if part.all() else float(weights @ part) / float(weights.sum())


def _draw(
    cells: Cells,
    *,
    more_missed: NDArray[np.int64],
    more_found: NDArray[np.int64],
    possible: NDArray[np.bool_],
) -> Floats:
    """Draws of the numbers of unsafe and safe images below and from the threshold.

    Args:
        cells: Of the threshold.
        more_missed: Shape (draws,): 1 for draws of the unsafe images that are not flagged from the
            upper distribution, 0 for those from the lower one.
        more_found: The same for unsafe images that are flagged.
        possible: Shape (2,): whether there are scores below the threshold, and from it.

    Returns:
        Shape (2, 2, draws): unsafe and safe, each not flagged and flagged.
    """
    rng = np.random.default_rng(SEED)
    upper = np.stack([more_missed, more_found], axis=1)[:, :, np.newaxis]  # (draws, 2, 1)
    arrived = cells.images.copy()
    # Where no image arrived, one may: a few images do not show that none ever does.
    arrived[possible & (arrived.sum(axis=1) == 0), :1] = 1
    images = rng.standard_gamma(np.broadcast_to(arrived, (DRAWS, *arrived.shape)))
    unsafe = rng.standard_gamma(cells.unsafe + upper)
    safe = rng.standard_gamma(cells.safe + 1 - upper)
    share = unsafe / np.maximum(unsafe + safe, 1e-300)
    both = np.stack([images * share, images * (1 - share)])
    return np.asarray(np.moveaxis(both.sum(axis=3), 1, 2))


def _ratio(part: Floats, other: Floats) -> Floats:
    """Shape (draws,): the share of a part in both; not a number where both are 0."""
    total = part + other
    return np.asarray(np.divide(part, total, out=np.full(len(part), np.nan), where=total > 0))
