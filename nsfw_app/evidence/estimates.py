"""Estimates of a model's errors from a weighted sample, with confidence intervals.

- An image counts with the inverse of the probability with which it was drawn (Hajek 1971).
- The intervals are Jeffreys intervals for the effective number of reviews: that number of reviews
  of a simple random sample whose proportion would vary as much (Korn and Graubard 1998).
- A tenth of a review of average weight is added to the variance: without it, a number whose rare
  part has large weights would look certain while no such image was drawn.
- They treat the images as a sample of all that the model will see, and are for a fixed time: to
  look until a number suits, use the guarantee instead.
- A drawn image without a settled label is missing, as if it had not been drawn.

Sources: Hajek (1971), in Foundations of statistical inference; Korn and Graubard (1998), Confidence
intervals for proportions with small expected number of positive counts estimated from survey data;
Brown, Cai and DasGupta (2001), for the Jeffreys interval.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from nsfw_app.evidence.sample import UNSAFE, Sample

PSEUDO_REVIEWS = 0.1


@dataclass(frozen=True, slots=True)
class Interval:
    """A number with its confidence interval.

    - `value` is None where no review is about it; the interval is then the whole range.
    - `reviews` is the number of settled labels that it is computed from.
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
    - `missed`: number of unsafe images that are not flagged. `flagged`: number of images with a
      score of at least the threshold, which is known exactly.
    - `images` arrived; `unsettled` of them were drawn and are missing for want of a settled label.
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


def estimate(sample: Sample, *, threshold: float, confidence: float = 0.95) -> Estimates:
    """Estimate how a threshold does on the images that arrived.

    Args:
        sample: The images that arrived.
        threshold: In [0, 1]; an image with this score or a higher one is flagged.
        confidence: Of each interval by itself, in (0, 1).

    Raises:
        ValueError: A value leaves its range.
    """
    if not 0 <= threshold <= 1:
        raise ValueError(f"The threshold is {threshold}, expected a number from 0 to 1.")
    if not 0 < confidence < 1:
        raise ValueError(f"The confidence is {confidence}, expected a number between 0 and 1.")
    reviewed = sample.reviewed
    weights = 1 / sample.probabilities[reviewed]
    unsafe = sample.labels[reviewed] == UNSAFE
    flagged = sample.scores[reviewed] >= threshold
    count, above = len(sample), int(np.count_nonzero(sample.scores >= threshold))

    def share(part: NDArray[np.bool_], of: NDArray[np.bool_]) -> Interval:
        return proportion(part[of], weights[of], confidence=confidence)

    everything = np.ones(len(weights), bool)
    missed = share(unsafe & ~flagged, everything)
    return Estimates(
        threshold=threshold,
        confidence=confidence,
        recall=share(flagged, unsafe),
        precision=share(unsafe, flagged),
        prevalence=share(unsafe, everything),
        false_positive_rate=share(flagged, ~unsafe),
        missed=scaled(missed, count),
        flagged=Interval(above, above, above, int(np.count_nonzero(flagged))),
        images=count,
        unsettled=sample.open_draws,
    )


def proportion(
    part: NDArray[np.bool_], weights: NDArray[np.float64], *, confidence: float
) -> Interval:
    """The weighted share of reviews for which something is true.

    Args:
        part: Shape (n,), whether it is true of a review.
        weights: Shape (n,), inverse probabilities of review.
        confidence: In (0, 1).
    """
    reviews = len(part)
    if not reviews:
        return Interval(None, 0.0, 1.0, 0)
    total, squares = float(weights.sum()), float((weights**2).sum())
    # Exactly 1 where it is true of all: rounding would make the number of reviews look tiny.
    value = 1.0 if part.all() else float(weights @ part) / total
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
    return Interval(value, lower, upper, reviews)


def scaled(share: Interval, count: int) -> Interval:
    """A share of the images as a number of them."""
    value = None if share.value is None else share.value * count
    return Interval(value, share.lower * count, share.upper * count, share.reviews)
