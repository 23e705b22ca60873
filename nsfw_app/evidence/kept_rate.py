"""Estimate of the share of unsafe images among those that are kept of a data set.

- From the images that arrived, reviewed with known probability, to a data set with other scores:
  in each range of scores, the weights of the reviews add up to the share of the kept images there
  (post-stratification; Holt and Smith 1979).
- It assumes that images with about the same score are unsafe as often in the data set as among the
  images that arrived.
- The interval is made of draws: in each range from the confidence distribution of its share, half
  of them from the lower distribution of Clopper and Pearson, half from the upper one, as in
  `estimates`. So a range in which no unsafe image was seen is not taken for safe.
- Of kept images in ranges without a review it says nothing; `covered` is the share of the others.

Source: Holt and Smith (1979), Post stratification, Journal of the Royal Statistical Society A.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nsfw_app.evidence.estimates import DRAWS, SEED, Interval
from nsfw_app.evidence.sample import UNSAFE, Sample

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class KeptRate:
    """The share of unsafe images among the kept ones of the ranges with reviews.

    Attributes:
        rate: With its interval, in [0, 1].
        confidence: Of the interval.
        images: Kept images that the estimate is about.
        covered: Their share of all kept images, in [0, 1].
        provisional: How many of the reviews are not settled yet.
    """

    rate: Interval
    confidence: float
    images: int
    covered: float
    provisional: int = 0


def kept_rate(
    sample: Sample,
    kept: Sequence[int],
    *,
    provisional: NDArray[np.bool_] | None = None,
    confidence: float = CONFIDENCE,
) -> KeptRate | None:
    """Estimate the share of unsafe images among kept ones; None where no review says anything.

    Args:
        sample: The images that arrived.
        kept: Number of kept images in each of these equal ranges of scores from 0 to 1.
        provisional: Shape (images of the sample,), whether the label is provisional; None for none.
        confidence: Of the interval, in (0, 1).
    """
    counts = np.asarray(kept, np.int64)
    reviewed = sample.reviewed
    bins = np.minimum((sample.scores[reviewed] * len(counts)).astype(int), len(counts) - 1)
    weights = 1 / sample.probabilities[reviewed]
    unsafe = sample.labels[reviewed] == UNSAFE
    sums, unsafe_sums, squares = (
        np.bincount(bins, values, minlength=len(counts))
        for values in (weights, weights * unsafe, weights**2)
    )
    chosen = (sums > 0) & (counts > 0)
    images = int(counts[chosen].sum())
    if not images:
        return None
    shares = counts[chosen] / images
    rates = unsafe_sums[chosen] / sums[chosen]
    drawn = _draw(rates, sums[chosen] ** 2 / squares[chosen]) @ shares
    tail = (1 - confidence) / 2
    value = float(rates @ shares)
    lower, upper = map(float, np.quantile(drawn, [tail, 1 - tail]))
    reviews = int(np.count_nonzero(chosen[bins]))
    rate = Interval(value, min(lower, value), max(upper, value), reviews)
    open_reviews = 0 if provisional is None else np.sum(chosen[bins] & provisional[reviewed])
    return KeptRate(rate, confidence, images, images / int(counts.sum()), int(open_reviews))


def _draw(rates: NDArray[np.float64], reviews: NDArray[np.float64]) -> NDArray[np.float64]:
    """Draws of the rates of ranges, shape (draws, ranges).

    Args:
        rates: Shape (ranges,), as observed.
        reviews: Shape (ranges,), effective numbers of reviews.
    """
    rng = np.random.default_rng(SEED)
    upper = (np.arange(DRAWS) % 2)[:, np.newaxis]
    unsafe = rng.standard_gamma(rates * reviews + upper)
    safe = rng.standard_gamma((1 - rates) * reviews + 1 - upper)
    return np.asarray(unsafe / np.maximum(unsafe + safe, 1e-300))
