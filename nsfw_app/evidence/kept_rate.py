"""Estimate of the share of unsafe images among those that are kept of a data set.

- From the images that arrived, reviewed with known probability, to a data set with other scores:
  in each range of scores, the weights of the reviews add up to the share of the kept images there
  (post-stratification; Holt and Smith 1979).
- It assumes that images with about the same score are unsafe as often in the data set as among the
  images that arrived.
- Of kept images in ranges without a review it says nothing; `covered` is the share of the others.

Source: Holt and Smith (1979), Post stratification, Journal of the Royal Statistical Society A.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nsfw_app.evidence.estimates import Interval, proportion
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
    """

    rate: Interval
    confidence: float
    images: int
    covered: float


def kept_rate(
    sample: Sample, kept: Sequence[int], *, confidence: float = CONFIDENCE
) -> KeptRate | None:
    """Estimate the share of unsafe images among kept ones; None where no review says anything.

    Args:
        sample: The images that arrived.
        kept: Number of kept images in each of these equal ranges of scores from 0 to 1.
        confidence: Of the interval, in (0, 1).
    """
    counts = np.asarray(kept, np.int64)
    reviewed = sample.reviewed
    bins = np.minimum((sample.scores[reviewed] * len(counts)).astype(int), len(counts) - 1)
    weights = 1 / sample.probabilities[reviewed]
    totals = np.bincount(bins, weights, minlength=len(counts))
    images = int(counts[totals > 0].sum())
    if not images:
        return None
    chosen = counts[bins] > 0
    adjusted = (weights * counts[bins] / totals[bins])[chosen]
    unsafe = sample.labels[reviewed][chosen] == UNSAFE
    rate = proportion(unsafe, adjusted, confidence=confidence)
    return KeptRate(rate, confidence, images, images / int(counts.sum()))
