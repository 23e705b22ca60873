"""Images that become right or wrong: intervals of what that does to rates, and their coverage."""

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
    return LabelFlips(before, after, np.ones(count, bool), np.arange(count), np.ones(count))


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
    found = LabelFlips(before, after, unsafe, groups, np.ones(4)).negative_flips()
    assert {label: (each.groups, each.flipped) for label, each in found.items()} == {
        Label.NSFW: (1, 1),
        Label.NORMAL: (1, 0),
    }


@pytest.mark.parametrize("lost", [0.002, 0.01, 0.05])
def test_the_interval_of_a_difference_covers_it(lost: float) -> None:
    """Also if hardly any image changes: its lower end is above the truth in 3.5 % at most."""
    rng, above = np.random.default_rng(0), 0
    before = first(180, 200)
    for _ in range(1_000):
        after = np.where(before, rng.random(200) >= lost, rng.random(200) < 0.3)
        found = flips(before, after).difference()
        assert found.lower is not None
        above += found.lower > 0.1 * 0.3 - 0.9 * lost
    assert above <= 35


def test_without_changes_the_interval_is_that_of_none() -> None:
    """The difference is 0, and its interval as wide as Wilson's of no image that changes."""
    found = flips(first(100, 100), first(100, 100)).difference()
    (_, upper) = wilson_interval(Share(0, 100)) or (0.0, 0.0)
    assert (found.value, found.lower, found.upper) == pytest.approx((0, -upper, 0))


def test_unequal_weights_are_fewer_observations() -> None:
    """One image with most of the weight is hardly more than one observation."""
    weights = np.array([97.0, 1.0, 1.0, 1.0])
    value, lower, upper = weighted_share(first(1, 4), np.arange(4), weights)
    assert value == pytest.approx(0.97)
    assert lower < 0.21
    assert upper == pytest.approx(1, abs=0.01)
    assert weighted_share(first(1, 4), np.arange(4), np.ones(4))[1:] == wilson_interval(Share(1, 4))
