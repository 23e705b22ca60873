"""Labeled populations of which errors of the current model are sampled more often than the rest."""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from nsfw_app.evidence.replacement import HeldOut

FEATURES = 16


@dataclass(frozen=True)
class Sample:
    """Indices of chosen images, their sampling weights, and whether the model is wrong."""

    chosen: np.ndarray
    weights: np.ndarray
    corrections: np.ndarray

    def held_out(self, unsafe: np.ndarray) -> HeldOut:
        """Held-out images whose labels are these; all but the errors are agreements."""
        agreed = ~self.corrections
        return HeldOut(
            unsafe[self.chosen],
            self.chosen,
            self.corrections,
            self.weights,
            agreed,
            np.zeros_like(agreed),
        )


@dataclass(frozen=True)
class Population:
    """Features, log-odds of the current model, labels, and whether an image is in a group."""

    features: np.ndarray
    odds: np.ndarray
    unsafe: np.ndarray
    group: np.ndarray

    @staticmethod
    def scores(odds: np.ndarray) -> np.ndarray:
        """The nsfw scores of log-odds."""
        scores: np.ndarray = expit(odds)
        return scores

    def sample(self, wrong: int, right: int, *, seed: int, skip: int = 0) -> Sample:
        """As many images that the model gets wrong, and right, with the weights of their strata.

        Samples of the same seed overlap only as far as they do not skip each other's images.
        """
        errors = (self.odds >= 0) != self.unsafe
        rng = np.random.default_rng(1_000 + seed)
        drawn = [
            rng.permutation(np.flatnonzero(errors == of))[skip * count :][:count]
            for of, count in ((True, wrong), (False, right))
        ]
        chosen = np.concatenate(drawn)
        strata = 2 * self.unsafe + errors
        counts, written = (np.bincount(each, minlength=4) for each in (strata, strata[chosen]))
        weights = (counts / np.maximum(written, 1))[strata[chosen]]
        return Sample(chosen, weights, errors[chosen])


def flipped(count: int, share: float, *, seed: int, wrong: float = 0.5) -> Population:
    """A model that is right, but for a group where it is sure and wrong with some probability.

    By default the labels of the group are coin flips.
    """
    rng = np.random.default_rng(seed)
    unsafe, flagged, group, error = (
        rng.random(count) < probability for probability in (0.5, 0.5, share, wrong)
    )
    sign = np.where(flagged, 1, -1) * group
    features = rng.normal(size=(count, FEATURES)) * 0.3
    certain = np.where(group, 0, np.where(unsafe, 1, -1)) + rng.normal(size=count) * 0.05
    features[:, :3] = np.stack([certain, sign, group], axis=1)
    labels = np.where(group, flagged != error, unsafe)
    return Population(features.astype(np.float32), 5 * certain + sign, labels, group)
