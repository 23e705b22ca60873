"""Strata of a sample: images that were drawn with the same probability.

- Within a stratum the number of images with each score is known; only how many of them are unsafe
  is estimated, from the reviews: the images with a label, settled or provisional.
- A review represents images of its stratum with scores of the same half: those that were not drawn,
  and those that were and wait for a first decision. Where images wait, ranges of scores are
  smaller, because people may review by score. What waits is assumed to be like what is reviewed in
  its range.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from nsfw_app.evidence.sample import UNSAFE, Sample

STEPS = 4  # probabilities within a fourth of a power of 2 are one stratum
LEAST_SETTLED = 5  # reviews of a range of scores; with fewer, weights would be mostly chance
HALVES = (0, 5), (5, 10)  # ranges of tenths
TENTHS = 10
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Cells:
    """Images of each stratum below and from a threshold; every array has the shape (2, strata).

    The first row is of the images that are not flagged.

    - `images` arrived; `reviews` is the effective number of reviews, which is their number
      where all have the same weight.
    - `unsafe` and `safe` are parts of `reviews`.
    """

    images: Floats
    reviews: Floats
    unsafe: Floats
    safe: Floats


class Strata:
    """A sample by strata, and the weights of its reviews.

    - `weights`, shape (reviews,): how many images each review represents, in the order of
      the sample. They are inverse probabilities, scaled to add up to the images of the stratum and
      range of scores; not scaled where it has fewer than `LEAST_SETTLED` reviews.
    - `hardly_settled` is the number of images in such ranges in which drawn images wait: these are
      not represented.
    """

    def __init__(self, sample: Sample) -> None:
        reviewed = sample.reviewed
        steps = np.ceil(-np.log2(sample.probabilities) * STEPS)
        kinds, stratum = np.unique(steps, return_inverse=True)
        weights, self.hardly_settled = _weights(sample, stratum, len(kinds))
        self.weights = weights[reviewed]
        unsafe = sample.labels[reviewed] == UNSAFE
        self._scores: list[Floats] = []
        self._reviews: list[tuple[Floats, Floats]] = []
        for kind in range(len(kinds)):
            self._scores.append(np.sort(sample.scores[stratum == kind]))
            chosen = stratum[reviewed] == kind
            scores = sample.scores[reviewed][chosen]
            order = np.argsort(scores, kind="stable")
            weights = self.weights[chosen][order]
            is_unsafe = unsafe[chosen][order]
            sums = np.stack([weights * is_unsafe, weights * ~is_unsafe, weights**2])
            # A row of zeros first: sums of the images below a place.
            self._reviews.append((scores[order], np.insert(sums.cumsum(axis=1), 0, 0, axis=1)))

    def cells(self, threshold: float) -> Cells:
        """The cells at a threshold."""
        images = np.zeros((2, len(self._scores)))
        sums = np.zeros((2, 3, len(self._scores)))
        for kind, (scores, (settled, below)) in enumerate(
            zip(self._scores, self._reviews, strict=True)
        ):
            at = np.searchsorted(scores, threshold)
            images[:, kind] = at, len(scores) - at
            place = np.searchsorted(settled, threshold)
            sums[0, :, kind] = below[:, place]
            sums[1, :, kind] = below[:, -1] - below[:, place]
        unsafe, safe, squares = np.moveaxis(np.where(sums > 1e-9, sums, 0.0), 1, 0)
        per_weight = (unsafe + safe) / np.maximum(squares, 1e-300)
        return Cells(
            images,
            per_weight * (unsafe + safe),
            per_weight * unsafe,
            per_weight * safe,
        )


def _weights(sample: Sample, stratum: NDArray[np.intp], kinds: int) -> tuple[Floats, int]:
    """Shape (n,): what a review of each image counts; and the images in thin ranges."""
    weights, thin = 1 / sample.probabilities, 0
    tenths = np.minimum((sample.scores * TENTHS).astype(int), TENTHS - 1)
    at = stratum * TENTHS + tenths
    shape = kinds, TENTHS
    settled = np.bincount(at[sample.reviewed], minlength=kinds * TENTHS).reshape(shape)
    factors = np.ones(shape)
    found = np.where(sample.reviewed, weights, 0.0)
    images, found = (np.bincount(at, x, kinds * TENTHS).reshape(shape) for x in (None, found))
    waiting = np.bincount(at, sample.unsettled, kinds * TENTHS).reshape(shape)
    for kind, (first, last) in product(range(kinds), HALVES):
        waits = waiting[kind, first:last].any()
        ranges = _ranges(settled[kind], first, last) if waits else [(first, last)]
        for low, high in ranges:
            of = kind, slice(low, high)
            if settled[of].sum() >= LEAST_SETTLED:
                factors[of] = images[of].sum() / found[of].sum()
            elif waiting[of].any():
                thin += int(images[of].sum())
    return weights * factors[stratum, tenths], thin


def _ranges(settled: NDArray[np.int64], first: int, last: int) -> list[tuple[int, int]]:
    """Tenths of the score, joined with those above until each range has enough reviews.

    There is one range with fewer reviews, if all together have fewer.
    """
    found, low = [], first
    for high in range(first + 1, last + 1):
        if settled[low:high].sum() >= LEAST_SETTLED:
            found.append((low, high))
            low = high
    # What is left at the end has too few of its own.
    return [*found[:-1], (found[-1][0], last)] if found else [(first, last)]
