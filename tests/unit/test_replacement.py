"""Candidate against current model: outcomes, margins elsewhere, and intervals over groups."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from nsfw_app.evidence import replacement
from nsfw_app.evidence.replacement import (
    MIN_ELSEWHERE,
    HeldOut,
    Outcome,
    Part,
    Replacement,
    compare_candidate,
)

EACH = 100  # images of each label that are no corrections
WRONG = 60  # corrections: normal images that the current model scores as nsfw


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough for intervals that decide the same."""
    monkeypatch.setattr(replacement, "RESAMPLES", 200)


def held_out(each: int = EACH, wrong: int = WRONG) -> HeldOut:
    """Unsafe images, safe ones, and corrections, each in a group of its own."""
    count = 2 * each + wrong
    unsafe = np.arange(count) < each
    return HeldOut(unsafe, np.arange(count), np.arange(count) >= 2 * each)


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


def test_a_candidate_that_is_right_about_corrections_is_better() -> None:
    """And as good elsewhere; the first reason has both values and the interval."""
    images = held_out()
    found = compared(right_scores(images), images)
    assert found.outcome is Outcome.BETTER
    (reason,) = found.reasons
    primary = found.parts[Part.ALL].measures["auroc"]
    assert primary.candidate.value == 1
    assert primary.difference.lower is not None
    assert primary.difference.lower > 0
    assert reason.startswith(f"AUROC is 1.000 in place of {primary.current.value:.3f}")
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
    assert "The interval of the difference does not lie above 0." in found.reasons


@pytest.mark.parametrize(("label", "rate"), [(True, "recall"), (False, "false positive rate")])
def test_a_candidate_that_pays_elsewhere_is_not_better(label: bool, rate: str) -> None:
    """Right about corrections, but wrong about a tenth of one label elsewhere."""
    images = held_out()
    candidate = right_scores(images)
    lost = np.flatnonzero((images.unsafe == label) & ~images.corrections)[: EACH // 10]
    candidate[lost] = 0.45 if label else 0.55  # ranks nearly as before
    found = compared(candidate, images)
    assert found.parts[Part.ALL].measures["auroc"].difference.lower > 0
    assert found.outcome is Outcome.NOT_SHOWN
    assert any(f"Elsewhere, the {rate} may be worse by more than 0.05" in r for r in found.reasons)


def test_a_clear_loss_elsewhere_without_a_gain_is_worse() -> None:
    """Also if the ranking hardly changes."""
    images = held_out(wrong=0)
    candidate = right_scores(images)
    candidate[:40] = 0.45
    found = compared(candidate, images, right_scores(images))
    assert found.outcome is Outcome.WORSE


@pytest.mark.parametrize("each", [0, MIN_ELSEWHERE - 1])
def test_corrections_alone_show_nothing_about_the_rest(each: int) -> None:
    """With too few other images, a candidate is not called better; the numbers are named."""
    images = held_out()
    corrections = ~images.corrections
    corrections[:each] = corrections[EACH : EACH + each] = False
    images = replace(images, corrections=corrections)
    candidate = right_scores(images)
    found = compared(candidate, images, np.full(len(candidate), 0.5) - 0.4 * images.unsafe)
    assert found.outcome is Outcome.NOT_SHOWN
    assert "are needed to show that the candidate is no worse there" in found.reasons[1]


def test_shrunken_scores_are_not_better() -> None:
    """On labels that are noise, scores near 0.5 have a lower log loss, and are not better."""
    images = held_out(wrong=0)
    noise = np.random.default_rng(3).permutation(images.unsafe)
    images = replace(images, unsafe=noise)
    confident = np.where(np.arange(len(noise)) % 2, 0.99, 0.01)
    found = compared(0.5 + spread(images), images, confident)
    log_loss = found.parts[Part.ALL].measures["log_loss"].difference
    assert log_loss.upper is not None
    assert log_loss.upper < 0
    assert found.outcome is not Outcome.BETTER


def test_better_than_a_bad_model_and_as_good_as_chance_is_not_better() -> None:
    """The candidate itself must rank better than chance."""
    images = held_out()
    rng = np.random.default_rng(4)
    found = compared(rng.uniform(0, 1, len(images.unsafe)), images, 1 - right_scores(images))
    assert found.parts[Part.ALL].measures["auroc"].difference.lower > 0
    assert found.outcome is Outcome.NOT_SHOWN
    assert any("chance" in reason for reason in found.reasons)


def test_copies_of_images_do_not_narrow_intervals() -> None:
    """Ten near duplicates of each image in one group give the interval of the images alone."""
    images = held_out(each=15, wrong=10)
    candidate = np.random.default_rng(5).uniform(0, 1, len(images.unsafe))
    alone = compared(candidate, images).parts[Part.ALL].measures["auroc"].difference
    copies = HeldOut(
        *(np.repeat(each, 10) for each in (images.unsafe, images.groups, images.corrections))
    )
    now = np.repeat(current_scores(images), 10)
    found = compared(np.repeat(candidate, 10), copies, now).parts[Part.ALL]
    copied = found.measures["auroc"].difference
    assert (found.images, found.groups) == (400, 40)
    assert copied.value == pytest.approx(alone.value)
    assert (copied.lower, copied.upper) == pytest.approx((alone.lower, alone.upper))
    assert found.only_current + found.only_candidate <= 40


def test_without_corrections_all_images_are_elsewhere() -> None:
    """Imported labels were not chosen because of the model."""
    images = held_out(wrong=0)
    found = compared(right_scores(images), images)
    assert set(found.parts) == {Part.ALL, Part.ELSEWHERE}


def test_scores_that_are_noise_are_not_better() -> None:
    """Of 40 pairs of scores that have nothing to do with the labels, none is called better."""
    images, outcomes = held_out(wrong=0), []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        labeled = replace(images, unsafe=rng.permutation(images.unsafe))
        current, candidate = rng.uniform(0, 1, (2, len(labeled.unsafe)))
        outcomes.append(compared(candidate, labeled, current).outcome)
    assert Outcome.BETTER not in outcomes
