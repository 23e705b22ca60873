"""What may be hidden where it is not known which images were drawn for review.

An image with a probability below 1 and no label was not drawn, or waits for its label. To count all
of them as waiting would end each bet; to count none would let a backlog pass for evidence.

- `complete` says after which images about as many labels have come as draws are expected.
- `outer_images` are those beyond the lowest, or the highest, label of their half of the scores.
  They may all be hidden if people review by score: bets take the worst case for them.

Labels whose order depends on what the images show can hide the few misses that matter, and nothing
in the three arrays shows that. A range of scores between labels that is reviewed last can hide them
as well, and is not looked for. Only a sample with `unsettled` is safe from both.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nsfw_app.evidence.sample import Sample

MIDDLE = 0.5  # of the scores: each half has a lowest and a highest label
PENDING_SHARE = 0.02  # of the surely drawn images, up to which the others count as reviewed, too
FEWER_DRAWS = 2.0  # standard deviations below the expected draws are few enough to wait for labels


@dataclass(frozen=True, slots=True)
class OuterImages:
    """Images beyond all labels of one side, and in which blocks; arrays of the same shape.

    Image `images[i]` is beyond them after each block from `first[i]` up to `last[i]`, itself not
    included.
    """

    images: NDArray[np.int64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]


def complete(sample: Sample, ends: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Shape (blocks,): whether about all labels of the images up to the end of a block are there.

    - Nothing is complete after the last label.
    - Nearly all surely drawn images have labels.
    - The inverse probabilities of the other labels, of low and of high scores, add up to about the
      number of such images.
    """
    last = np.flatnonzero(sample.reviewed).max(initial=-1)
    found = np.asarray(ends <= last + 1)
    if not found.any():
        return found
    at = ends - 1
    sure = sample.probabilities == 1
    found &= sample.unsettled.cumsum()[at] <= PENDING_SHARE * sure.cumsum()[at]
    weights = 1 / sample.probabilities
    for half in _halves(sample):
        labeled = np.where(half & sample.reviewed, weights, 0.0).cumsum()[at]
        variance = np.where(half, weights - 1, 0.0).cumsum()[at]
        found &= labeled >= half.cumsum()[at] - FEWER_DRAWS * np.sqrt(variance)
    return np.asarray(found, bool)


def outer_images(sample: Sample, ends: NDArray[np.int64]) -> list[tuple[OuterImages, OuterImages]]:
    """For either half of the scores, the images below its lowest label and above its highest."""
    return [
        (_below(at, sample.scores[at], sample, ends), _below(at, -sample.scores[at], sample, ends))
        for at in map(np.flatnonzero, _halves(sample))
    ]


def _below(
    at: NDArray[np.int64], scores: NDArray[np.float64], sample: Sample, ends: NDArray[np.int64]
) -> OuterImages:
    """The images of a half, at these places, with lower scores than all labels until then."""
    lowest = np.minimum.accumulate(np.where(sample.reviewed[at], scores, np.inf))
    # The first label from which on an image is no longer below all of them.
    reached = np.searchsorted(-lowest, -scores)
    ended = np.append(at, len(sample))[reached]
    first, last = (np.searchsorted(ends, each, side="right") for each in (at, ended))
    some = first < last
    return OuterImages(at[some], first[some], last[some])


def _halves(sample: Sample) -> list[NDArray[np.bool_]]:
    """Masks of the images that are not surely drawn: those with low scores, and the others."""
    unsure = sample.probabilities < 1
    low = sample.scores < MIDDLE
    return [unsure & low, unsure & ~low]
