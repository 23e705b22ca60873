"""Candidate against current model: outcomes, sampling weights, non-inferiority, few groups."""

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from nsfw_app.evidence import paired_comparison
from nsfw_app.evidence.paired_comparison import PairedMeasure
from nsfw_app.evidence.replacement import (
    MIN_RIGHT,
    HeldOut,
    Outcome,
    Part,
    Replacement,
    compare_candidate,
)
from nsfw_app.records import Label
from tests.support.sampled_labels import Population, Sample, flipped

EACH = 100  # images of each label that are no corrections
WRONG = 60  # corrections: normal images that the current model scores as nsfw


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough for intervals that decide the same."""
    monkeypatch.setattr(paired_comparison, "RESAMPLES", 200)


def held_out(each: int = EACH, wrong: int = WRONG) -> HeldOut:
    """Unsafe images, safe ones, and corrections, each in a group of its own."""
    count = 2 * each + wrong
    corrections = np.arange(count) >= 2 * each
    return Sample(np.arange(count), np.ones(count), corrections).held_out(np.arange(count) < each)


def repeated(images: HeldOut, times: Any) -> HeldOut:
    """The same images, each so many times in its group."""
    return HeldOut(*(np.repeat(getattr(images, each.name), times) for each in fields(images)))


def current_scores(images: HeldOut) -> np.ndarray:
    """Right everywhere but for the corrections."""
    return np.where(images.unsafe | images.corrections, 0.9, 0.1) + spread(images)


def spread(images: HeldOut) -> np.ndarray:
    """Small differences, so that scores are not all the same."""
    return np.random.default_rng(1).uniform(-0.05, 0.05, len(images.unsafe))


def right_scores(images: HeldOut) -> np.ndarray:
    """Right about all images."""
    return np.where(images.unsafe, 0.9, 0.1) + spread(images)


def compared(candidate: Any, images: HeldOut, current: Any = None) -> Replacement:
    """Compare with the model that is wrong about corrections, at 0.5."""
    now = current_scores(images) if current is None else current
    return compare_candidate(now, candidate, images, threshold=0.5)


def measure(found: Replacement, name: str) -> PairedMeasure:
    """A measure on all images."""
    return found.parts[Part.ALL].measures[name]


def gains(images: HeldOut, chosen: Any) -> Replacement:
    """What becomes right are these safe images, and nothing else changes."""
    current = right_scores(images)
    current[chosen] = 0.97
    return compared(right_scores(images), images, current)


def test_a_candidate_that_is_right_about_corrections_is_better() -> None:
    """And as good elsewhere; the reasons have the values and the intervals."""
    images = held_out()
    found = compared(right_scores(images), images)
    assert found.outcome is Outcome.BETTER
    auroc, nsfw, normal, weights = found.reasons
    primary = measure(found, "auroc")
    assert primary.candidate.value == 1
    assert primary.difference.lower is not None
    assert primary.difference.lower > 0
    assert auroc.startswith(f"AUROC is 1.000 in place of {primary.current.value:.3f}")
    for label, reason in (("nsfw", nsfw), ("normal", normal)):
        assert reason == (
            f"Of 100 {label} groups of agreements that the current model gets right, the new one "
            "gets 0 wrong: a share of 0.000 (0.000 to 0.037)."
        )
    assert weights == "Each test image counts once."
    corrections = found.parts[Part.CORRECTIONS]
    assert (corrections.images, corrections.only_current, corrections.only_candidate) == (
        WRONG,
        0,
        WRONG,
    )
    assert corrections.p_value == pytest.approx(2 * 0.5**WRONG)


def test_the_reverse_is_worse() -> None:
    """A candidate that is wrong where the current model is right."""
    images = held_out()
    found = compared(current_scores(images), images, right_scores(images))
    assert found.outcome is Outcome.WORSE


def test_the_same_model_is_not_shown_to_be_better() -> None:
    """A difference of 0 proves nothing."""
    images = held_out()
    found = compared(current_scores(images), images)
    assert found.outcome is Outcome.NOT_SHOWN
    assert "The interval of the difference of AUROC does not lie above 0." in found.reasons


@pytest.mark.parametrize("label", [Label.NSFW, Label.NORMAL])
def test_a_candidate_that_is_inferior_elsewhere_is_not_better(label: Label) -> None:
    """Right about corrections, but wrong about a tenth of one label elsewhere."""
    images = held_out()
    candidate = right_scores(images)
    unsafe = label is Label.NSFW
    lost = np.flatnonzero((images.unsafe == unsafe) & ~images.corrections)[: EACH // 10]
    candidate[lost] = 0.45 if unsafe else 0.55  # ranks nearly as before
    found = compared(candidate, images)
    assert measure(found, "auroc").difference.lower > 0
    assert found.outcome is Outcome.NOT_SHOWN
    assert found.reasons[-1] == (
        f"More than 0.05 of the {label} agreements that are right now may become wrong, which is "
        "the margin of non-inferiority."
    )


@pytest.mark.parametrize(("lost", "outcome"), [(0, Outcome.BETTER), (1, Outcome.NOT_SHOWN)])
def test_few_groups_are_just_enough(lost: int, outcome: Outcome) -> None:
    """Of 73 groups none may become wrong: of 1 of 73 the upper bound is 0.074."""
    images = held_out(MIN_RIGHT)
    candidate = right_scores(images)
    candidate[:lost] = 0.45
    found = compared(candidate, images)
    assert found.outcome is outcome
    assert found.negative_flips[Label.NSFW].flipped == lost
    if lost:
        assert found.negative_flips[Label.NSFW].share.upper == pytest.approx(0.0736, abs=1e-4)
        recall = measure(found, "recall").difference
        assert recall.lower == pytest.approx(-0.0736, abs=1e-4)


@pytest.mark.parametrize("each", [0, MIN_RIGHT - 1])
def test_errors_alone_show_nothing_about_the_rest(each: int) -> None:
    """With too few images that the current model gets right, the reason names how many there are.

    The labels are settled decisions, not corrections: what counts is that the model is wrong.
    """
    images = held_out(wrong=0)
    right = np.zeros(2 * EACH, bool)
    right[:each] = right[EACH : EACH + each] = True
    candidate = right_scores(images)
    found = compared(candidate, images, np.where(right, candidate, 1 - candidate))
    assert measure(found, "recall").candidate.value == 1
    assert found.outcome is Outcome.NOT_SHOWN
    assert found.reasons[-1] == (
        f"The test split has {each} nsfw and {each} normal groups of agreements that the current "
        "model gets right; 73 of each are needed to show that the new one is not inferior where it "
        "is right. Add settled decisions that agree with the model to the training set."
    )


@pytest.mark.parametrize("each", [0, MIN_RIGHT - 1, MIN_RIGHT])
def test_errors_of_the_reviewed_model_do_not_represent_the_rest(each: int) -> None:
    """Also where the current model is another one, which gets enough of them right."""
    number = np.arange(2 * EACH + WRONG)
    agreed = (number % EACH < each) & (number < 2 * EACH)
    images = replace(held_out(), agreed=agreed)
    found = compared(right_scores(images), images)
    assert min(flips.groups for flips in found.negative_flips.values()) == EACH
    assert [flips.groups for flips in found.negative_flips_of_agreements.values()] == [each, each]
    assert found.outcome is (Outcome.BETTER if each == MIN_RIGHT else Outcome.NOT_SHOWN)
    if each < MIN_RIGHT:
        assert found.reasons[-1].startswith(
            f"The test split has {each} nsfw and {each} normal groups of agreements that the"
        )


@pytest.mark.parametrize(
    ("noun", "lost", "agreed"), [("agreements", 3, True), ("groups", 10, False)]
)
def test_agreements_and_all_that_is_right_are_measured(noun: str, lost: int, agreed: bool) -> None:
    """Half of 200 images are agreements: 3 of these are too many, and 10 of the others."""
    images = held_out(200)
    images = replace(images, agreed=np.arange(len(images.unsafe)) % 200 < 100)
    candidate = right_scores(images)
    candidate[np.flatnonzero(images.unsafe & (images.agreed == agreed))[:lost]] = 0.45
    found = compared(candidate, images)
    assert found.outcome is Outcome.NOT_SHOWN
    assert found.reasons[-1].startswith(f"More than 0.05 of the nsfw {noun} that are right now may")
    of_agreements = found.negative_flips_of_agreements[Label.NSFW]
    assert (of_agreements.groups, of_agreements.flipped) == (100, lost if agreed else 0)
    assert found.negative_flips[Label.NSFW].flipped == lost


def test_what_a_training_set_does_not_say_is_assumed() -> None:
    """That labels agreed with the reviewed model; the result says so."""
    images = replace(held_out(), assumed=np.arange(2 * EACH + WRONG) < 7)
    found = compared(right_scores(images), images)
    assert found.outcome is Outcome.BETTER
    assert found.reasons[-1].startswith("Of 7 test images the training set does not say whether")


def test_near_duplicates_are_one_group_that_is_right() -> None:
    """A hundred copies of one image are no hundred images."""
    images = held_out()
    groups = np.where(images.unsafe, 0, images.groups)
    found = compared(right_scores(images), replace(images, groups=groups))
    assert found.negative_flips[Label.NSFW].groups == 1
    assert found.outcome is Outcome.NOT_SHOWN


def test_a_clear_loss_elsewhere_without_a_gain_is_worse() -> None:
    """Also if the ranking hardly changes."""
    images = held_out(wrong=0)
    candidate = right_scores(images)
    candidate[:40] = 0.45
    found = compared(candidate, images, right_scores(images))
    assert found.outcome is Outcome.WORSE


@pytest.mark.parametrize(("count", "outcome"), [(4, Outcome.NOT_SHOWN), (7, Outcome.BETTER)])
def test_few_images_show_nothing(count: int, outcome: Outcome) -> None:
    """Four that are right in place of wrong have p = 0.125, and seven have 0.02."""
    found = gains(held_out(wrong=0), slice(EACH, EACH + count))
    assert measure(found, "auroc").difference.lower > 0
    assert found.outcome is outcome
    if outcome is Outcome.NOT_SHOWN:
        assert found.reasons[4] == (
            f"{count} groups become right and 0 wrong, which is not shown to be more (McNemar's "
            "exact p = 0.125)."
        )


@pytest.mark.parametrize("groups", [1, 5])
def test_many_images_in_few_groups_show_nothing(groups: int) -> None:
    """Three hundred near duplicates that become right, in five groups: p = 0.06."""
    single = held_out(wrong=0)
    copies = np.arange(300)
    images = HeldOut(
        np.append(single.unsafe, np.zeros(300, bool)),
        np.append(single.groups, 2 * EACH + copies % groups),
        np.zeros(2 * EACH + 300, bool),
        np.ones(2 * EACH + 300),
        np.append(single.agreed, np.ones(300, bool)),
        np.zeros(2 * EACH + 300, bool),
    )
    found = gains(images, slice(2 * EACH, None))
    assert found.parts[Part.ALL].only_candidate == groups
    assert found.outcome is Outcome.NOT_SHOWN


def test_what_is_lost_counts_with_its_weight() -> None:
    """Two images that become wrong outweigh sixty that become right, if each represents forty."""
    images = held_out()
    weighted = replace(images, weights=np.where(images.corrections, 1.0, 40.0))
    candidate = right_scores(images)
    candidate[EACH : EACH + 2] = 0.55
    assert compared(candidate, images).parts[Part.ALL].p_value < 1e-9
    found = compared(candidate, weighted)
    assert measure(found, "accuracy").difference.value == pytest.approx((60 - 2 * 40) / 8_060)
    assert measure(found, "false_positive_rate").candidate.value == pytest.approx(80 / 4_060)
    assert found.outcome is Outcome.NOT_SHOWN
    assert "A test image represents 1.0 to 40.0 labeled images." in found.reasons
    assert any("difference of weighted accuracy" in reason for reason in found.reasons)


def test_a_weight_is_a_number_of_copies() -> None:
    """Measures of images with weights are those of as many near duplicates without.

    Except that a weight is that of independent images, from which the sizes of strata are known.
    """
    images = held_out(each=15, wrong=10)
    rng = np.random.default_rng(5)
    times = rng.integers(1, 5, len(images.unsafe))
    current, candidate = rng.uniform(0, 1, (2, len(times)))
    weighted = compared(candidate, replace(images, weights=times.astype(float)), current)
    copies = repeated(images, times)
    copied = compared(np.repeat(candidate, times), copies, np.repeat(current, times))
    for name in ("auroc", "log_loss", "accuracy", "recall", "false_positive_rate"):
        one, other = measure(weighted, name), measure(copied, name)
        for field in ("current", "candidate", "difference"):
            first, second = getattr(one, field), getattr(other, field)
            assert first.value == pytest.approx(second.value)
            if field == "difference" and name not in ("auroc", "log_loss"):
                assert first.lower == pytest.approx(second.lower, abs=0.005)
                assert first.upper == pytest.approx(second.upper, abs=0.005)
            else:
                assert first.lower == pytest.approx(second.lower)
                assert first.upper == pytest.approx(second.upper)
    assert weighted.negative_flips == copied.negative_flips


@pytest.mark.parametrize("share", [0.005, 0.02, 0.04])
def test_a_model_turned_around_where_labels_are_noise_is_not_better(share: float) -> None:
    """In a group of images whose labels are coin flips, of 16 labeled populations each.

    All errors of the current model are in the group, and are sampled twenty times as often as
    other images; the candidate is the current model, turned around in the group.
    """
    outcomes = []
    for seed in range(16):
        population = flipped(20_000, share, seed=seed)
        test = population.sample(250, 600, seed=seed)
        images = test.held_out(population.unsafe)
        odds = population.odds[test.chosen]
        turned = np.where(population.group[test.chosen], -odds, odds)
        found = compared(Population.scores(turned), images, Population.scores(odds))
        assert found.parts[Part.ALL].only_candidate > 2 * found.parts[Part.ALL].only_current
        outcomes.append(found.outcome)
    assert Outcome.BETTER not in outcomes


def test_shrunken_scores_are_not_better() -> None:
    """On labels that are noise, scores near 0.5 have a lower log loss, and are not better."""
    images = held_out(wrong=0)
    noise = np.random.default_rng(3).permutation(images.unsafe)
    images = replace(images, unsafe=noise)
    confident = np.where(np.arange(len(noise)) % 2, 0.99, 0.01)
    found = compared(0.5 + spread(images), images, confident)
    log_loss = measure(found, "log_loss").difference
    assert log_loss.upper is not None
    assert log_loss.upper < 0
    assert found.outcome is not Outcome.BETTER


def test_better_than_a_bad_model_and_as_good_as_chance_is_not_better() -> None:
    """The candidate itself must rank better than chance."""
    images = held_out()
    rng = np.random.default_rng(4)
    found = compared(rng.uniform(0, 1, len(images.unsafe)), images, 1 - right_scores(images))
    assert measure(found, "auroc").difference.lower > 0
    assert found.outcome is Outcome.NOT_SHOWN
    assert any("chance" in reason for reason in found.reasons)


def test_copies_of_images_do_not_narrow_intervals() -> None:
    """Ten near duplicates of each image in one group give the intervals of the images alone."""
    images = held_out(each=15, wrong=10)
    candidate = np.random.default_rng(5).uniform(0, 1, len(images.unsafe))
    alone = compared(candidate, images)
    copies = repeated(images, 10)
    copied = compared(np.repeat(candidate, 10), copies, np.repeat(current_scores(images), 10))
    found = copied.parts[Part.ALL]
    assert (found.images, found.groups) == (400, 40)
    assert found.only_current + found.only_candidate <= 40
    for name in ("auroc", "accuracy"):
        one, other = measure(alone, name).difference, measure(copied, name).difference
        assert (one.value, one.lower, one.upper) == pytest.approx(
            (other.value, other.lower, other.upper)
        )


def test_labels_of_one_kind_have_no_ranking() -> None:
    """And no outcome but that nothing is shown."""
    images = held_out()
    images = replace(images, unsafe=np.zeros_like(images.unsafe))
    found = compared(right_scores(images), images)
    assert measure(found, "auroc").difference.value is None
    assert measure(found, "recall").difference.value is None
    assert found.outcome is Outcome.NOT_SHOWN


def test_scores_that_are_noise_are_not_better() -> None:
    """Of 40 pairs of scores that have nothing to do with the labels, none is called better."""
    images, outcomes = held_out(wrong=0), []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        labeled = replace(images, unsafe=rng.permutation(images.unsafe))
        current, candidate = rng.uniform(0, 1, (2, len(labeled.unsafe)))
        outcomes.append(compared(candidate, labeled, current).outcome)
    assert Outcome.BETTER not in outcomes
