"""Images that become right or wrong: intervals of what that does to rates, and their coverage."""

from dataclasses import dataclass

import numpy as np
import pytest
from scipy.stats import binom

from nsfw_app.evidence.label_flips import LabelFlips, weighted_share
from nsfw_app.evidence.metrics import Share, wilson_interval
from nsfw_app.evidence.replacement import MARGIN, MIN_RIGHT
from nsfw_app.records import Label


def flips(before: np.ndarray, after: np.ndarray) -> LabelFlips:
    """Unsafe images, each in a group of its own, without weights."""
    count = len(before)
    return LabelFlips(
        before, after, np.ones(count, bool), np.ones(count, bool), np.arange(count), np.ones(count)
    )


def first(count: int, of: int) -> np.ndarray:
    """True for the first of so many."""
    return np.arange(of) < count


def is_non_inferior(lost: int, groups: int) -> bool:
    """Whether so many groups may become wrong."""
    found = flips(np.ones(groups, bool), ~first(lost, groups)).negative_flips()[Label.NSFW]
    assert (found.groups, found.flipped) == (groups, lost)
    assert found.share.upper is not None
    return found.share.upper <= MARGIN


@pytest.mark.parametrize("groups", [MIN_RIGHT, 100, 110, 160, 300, 587, 1_000])
def test_an_inferior_candidate_passes_in_one_of_forty_cases(groups: int) -> None:
    """One that gets the share of the margin wrong: with a probability of about 2.5 % at most."""
    allowed = next(lost for lost in range(groups) if not is_non_inferior(lost, groups)) - 1
    assert binom.cdf(allowed, groups, MARGIN) < 0.026


def test_fewer_groups_never_suffice() -> None:
    """Not even if all of them stay right."""
    assert is_non_inferior(0, MIN_RIGHT)
    assert not is_non_inferior(0, MIN_RIGHT - 1)


def test_a_group_is_wrong_if_an_image_of_it_is() -> None:
    """Near duplicates count once, also where one of them is wrong already."""
    before = np.array([True, True, True, False])
    after = np.array([True, False, True, False])
    unsafe, groups = np.array([True, True, False, True]), np.array([0, 0, 1, 2])
    found = LabelFlips(before, after, unsafe, before, groups, np.ones(4)).negative_flips()
    assert {label: (each.groups, each.flipped) for label, each in found.items()} == {
        Label.NSFW: (1, 1),
        Label.NORMAL: (1, 0),
    }


@dataclass(frozen=True)
class Change:
    """Of so many labeled images the current model gets a share wrong, and some labels change.

    All errors are written, and a share of what is right. `is_known` is whether the set says which
    labels agreed with the model; near duplicates are in groups of `copies`.
    """

    images: int
    wrong: float
    gained: float  # of what was wrong
    lost: float  # of what was right
    kept: float = 1.0
    is_known: bool = True
    copies: int = 1

    @property
    def difference(self) -> float:
        """The true one."""
        return self.wrong * self.gained - (1 - self.wrong) * self.lost

    def sample(self, rng: np.random.Generator) -> LabelFlips:
        """A random set, with its sampling weights."""
        count = self.images // self.copies
        groups = np.repeat(np.arange(count), self.copies)
        before, kept, unsafe = (
            (rng.random(count) < share)[groups] for share in (1 - self.wrong, self.kept, 0.5)
        )
        changed = rng.random(count)[groups] < np.where(before, self.lost, self.gained)
        written = ~before | kept
        agreed = before if self.is_known else np.ones(len(before), bool)
        weights = np.ones(len(before))
        for stratum in (agreed, ~agreed):
            if (stratum & written).any():
                weights[stratum] = stratum.sum() / (stratum & written).sum()
        made = LabelFlips(before, before ^ changed, unsafe, agreed, groups, weights)
        return made.of(written)


@pytest.mark.parametrize(
    "change",
    [
        Change(200, wrong=0.1, gained=1, lost=0),  # most errors are repaired, few images change
        Change(400, wrong=0.25, gained=1, lost=0),
        Change(200, wrong=0.2, gained=0.95, lost=0.01),
        Change(200, wrong=0.1, gained=1, lost=0, is_known=False),
        Change(400, wrong=0.25, gained=1, lost=0, is_known=False),
        Change(400, wrong=0.25, gained=0.9, lost=0.02, is_known=False),
        Change(200, wrong=0.1, gained=0.3, lost=0.002, is_known=False),
        Change(200, wrong=0.1, gained=0.3, lost=0.05, is_known=False),
        Change(600, wrong=0.2, gained=0.9, lost=0.02, is_known=False, copies=3),
        Change(2_500, wrong=0.1, gained=0.9, lost=0.02, kept=0.1),
        Change(2_500, wrong=0.02, gained=0.9, lost=0.01, kept=0.1),
    ],
)
def test_the_interval_of_a_difference_covers_it(change: Change) -> None:
    """In random sets: each end is beyond the truth in 3.5 % at most, of 2.5 % nominal."""
    rng = np.random.default_rng(0)
    found = [change.sample(rng).difference() for _ in range(1_000)]
    assert np.mean([each.value for each in found]) == pytest.approx(change.difference, abs=0.003)
    assert sum(each.lower > change.difference for each in found) <= 35
    assert sum(each.upper < change.difference for each in found) <= 35


def test_without_changes_the_interval_is_that_of_none() -> None:
    """The difference is 0, and the interval has what may be lost below it, gained above it."""
    found = flips(first(90, 100), first(90, 100)).difference()
    (_, upper) = wilson_interval(Share(0, 100)) or (0.0, 0.0)
    assert (found.value, found.lower, found.upper) == pytest.approx((0, -upper, upper))


def test_unequal_weights_are_fewer_observations() -> None:
    """One image with most of the weight is hardly more than one observation."""
    weights = np.array([97.0, 1.0, 1.0, 1.0])
    value, lower, upper = weighted_share(first(1, 4), np.arange(4), weights)
    assert value == pytest.approx(0.97)
    assert lower < 0.21
    assert upper == pytest.approx(1, abs=0.01)
    assert weighted_share(first(1, 4), np.arange(4), np.ones(4))[1:] == wilson_interval(Share(1, 4))
