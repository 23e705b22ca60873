"""What a change of labels does to rates: images that become right, and images that become wrong.

- Images are weighted, and near duplicates are one observation: a share has Wilson's interval for
  Kish's effective number of groups.
- A difference of two rates is the share of images that become right minus the share that become
  wrong. Its interval combines those of both shares in each stratum, so that it has the right width
  also if hardly any image changes, where a percentile bootstrap is too narrow.
- Strata are what images were sampled by: the label, and whether it agreed with the model that was
  reviewed. How large they are is an estimate, too, from as many images as the weights add up to.
- Negative flips are right with the current model and wrong with the candidate. Whether the
  candidate is non-inferior is measured on all that the current model gets right.

Sources: Wilson (1927); Kish (1965), for the effective number; Zou and Donner (2008), for the
interval of a sum (MOVER), which is that of Newcombe (1998) for two rates; Cochran (1977), Sampling
Techniques, chapter 12, for strata whose sizes are estimated; Yan et al. (2021), Positive-congruent
training, for negative flips; Piaggio et al. (2012), for non-inferiority.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nsfw_app.evidence.evaluation import Floats, Measured
from nsfw_app.evidence.metrics import wilson_bounds
from nsfw_app.records import Label

Bools = NDArray[np.bool_]
Groups = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class NegativeFlips:
    """Groups with images of a label that the current model gets right, and what becomes of them.

    In `flipped` of them the candidate gets such an image wrong; `share` is their share.
    """

    groups: int
    flipped: int
    share: Measured


@dataclass(frozen=True, slots=True)
class LabelFlips:
    """Labels of both models on the same images, as arrays of shape (n,).

    `before` and `after` are whether the current model and the candidate are right; `agreed` is
    whether the label was the same as that of the model that was reviewed.
    """

    before: Bools
    after: Bools
    unsafe: Bools
    agreed: Bools
    groups: Groups
    weights: Floats

    def of(self, chosen: Bools) -> "LabelFlips":
        """Those of some of the images."""
        return LabelFlips(
            self.before[chosen],
            self.after[chosen],
            self.unsafe[chosen],
            self.agreed[chosen],
            self.groups[chosen],
            self.weights[chosen],
        )

    def difference(self) -> Measured:
        """Weighted share of right images, the candidate's minus the current model's."""
        if not len(self.before):
            return Measured(None, None, None)
        strata = 2 * self.unsafe + self.agreed
        cells = [self.of(strata == stratum)._change() for stratum in np.unique(strata)]
        shares, changes, below, above = np.array(cells).T
        shares /= shares.sum()
        value = float(shares @ changes)
        lower, upper = self._bounds_between(changes, value)
        return Measured(
            value,
            max(-1.0, value - math.hypot(*(shares * below), value - lower)),
            min(1.0, value + math.hypot(*(shares * above), upper - value)),
        )

    def _change(self) -> tuple[float, float, float, float]:
        """Of a stratum: its weight, its difference, and how far the interval reaches from that."""
        gained, fewest_gained, most_gained = self._share(~self.before & self.after)
        lost, fewest_lost, most_lost = self._share(self.before & ~self.after)
        below = math.hypot(gained - fewest_gained, most_lost - lost)
        above = math.hypot(most_gained - gained, lost - fewest_lost)
        return float(self.weights.sum()), gained - lost, below, above

    def _share(self, chosen: Bools) -> tuple[float, float, float]:
        return weighted_share(chosen, self.groups, self.weights)

    def _bounds_between(self, changes: Floats, mean: float) -> tuple[float, float]:
        """The interval of the mean of the strata's differences, because their sizes are estimates.

        It is that of a share, on the scale from the lowest difference to the highest.
        """
        lowest, highest = float(changes.min()), float(changes.max())
        width = highest - lowest
        if not width:
            return mean, mean
        sizes = np.bincount(self.groups)
        independent = sizes.sum() ** 2 / (sizes**2).sum() / len(self.groups)  # of an image
        share = min(1.0, max(0.0, (mean - lowest) / width))
        lower, upper = wilson_bounds(share, float(self.weights.sum() * independent))
        return lowest + lower * width, lowest + upper * width

    def negative_flips(self) -> Mapping[Label, NegativeFlips]:
        """Those of each label; no image has a weight."""
        found = {}
        for label in (Label.NSFW, Label.NORMAL):
            right = self.before & (self.unsafe == (label is Label.NSFW))
            groups = len(np.unique(self.groups[right]))
            flipped = len(np.unique(self.groups[right & ~self.after]))
            bounds = wilson_bounds(flipped / groups, groups) if groups else (None, None)
            value = flipped / groups if groups else None
            found[label] = NegativeFlips(groups, flipped, Measured(value, *bounds))
        return found


def weighted_share(chosen: Bools, groups: Groups, weights: Floats) -> tuple[float, float, float]:
    """The weighted share of chosen images, at least one, with its interval over groups.

    Args:
        chosen: Shape (n,).
        groups: Shape (n,), the same number for near duplicates.
        weights: Shape (n,), above 0.
    """
    sizes = np.bincount(groups, weights)
    value = min(1.0, float(weights @ chosen / weights.sum()))
    return value, *wilson_bounds(value, float(sizes.sum() ** 2 / (sizes**2).sum()))
