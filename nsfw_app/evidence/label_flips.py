"""What a change of labels does to rates: images that become right, and images that become wrong.

- Images are weighted, and near duplicates are one observation: a share has Wilson's interval for
  Kish's effective number of groups.
- A difference of two rates is what is gained among images that were wrong minus what is lost among
  those that were right. Its interval combines those of the shares that change, so that it has the
  right width also if hardly any image changes, where a percentile bootstrap is too narrow.
- Negative flips are right with the current model and wrong with the candidate. Whether the
  candidate is non-inferior is measured on all that the current model gets right.

Sources: Wilson (1927); Kish (1965), for the effective number; Zou and Donner (2008), for the
interval of a sum (MOVER), which is that of Newcombe (1998) for two rates; Yan et al. (2021),
Positive-congruent training, for negative flips; Piaggio et al. (2012), for non-inferiority.
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

    `before` and `after` are whether the current model and the candidate are right.
    """

    before: Bools
    after: Bools
    unsafe: Bools
    groups: Groups
    weights: Floats

    def of(self, chosen: Bools) -> "LabelFlips":
        """Those of some of the images."""
        return LabelFlips(
            self.before[chosen],
            self.after[chosen],
            self.unsafe[chosen],
            self.groups[chosen],
            self.weights[chosen],
        )

    def difference(self) -> Measured:
        """Weighted share of right images, the candidate's minus the current model's."""
        if not len(self.before):
            return Measured(None, None, None)
        value, below, above = 0.0, 0.0, 0.0  # the last two are squares
        for label in (False, True):
            for right in (False, True):
                cell = (self.unsafe == label) & (self.before == right)
                if not cell.any():
                    continue
                size = float(self.weights[cell].sum() / self.weights.sum())
                changed = self.before[cell] != self.after[cell]
                found, lower, upper = weighted_share(changed, self.groups[cell], self.weights[cell])
                if right:
                    found, lower, upper = -found, -upper, -lower
                value += size * found
                below += (size * (found - lower)) ** 2
                above += (size * (upper - found)) ** 2
        return Measured(value, value - math.sqrt(below), value + math.sqrt(above))

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
