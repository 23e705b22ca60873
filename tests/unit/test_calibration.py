"""Calibration: the right method, weighted, and measured on reviews that it was not fitted to."""

import time

import numpy as np
import pytest
from scipy.special import expit, logit

from nsfw_app.evidence.calibration import Calibration, Method, fit_calibration
from nsfw_app.evidence.sample import NOT_REVIEWED, Sample
from tests.support.streams import Plan, band_and_audits, drawn, stream

GRID = np.array([0.05, 0.2, 0.5, 0.8, 0.95])


def calibrated(truth: Plan, images: int, plan: Plan = band_and_audits) -> Calibration:
    """The calibration of uniform scores, unsafe with the probability that `truth` gives them."""
    rng = np.random.default_rng(images)
    scores = rng.random(images)
    fitted = fit_calibration(drawn(rng, scores, rng.random(images) < truth(scores), plan))
    assert fitted is not None
    return fitted


def test_platt_scaling_finds_a_shift_of_the_log_odds() -> None:
    """Overconfident scores are mapped to their true shares."""

    def truth(scores: np.ndarray) -> np.ndarray:
        return np.asarray(expit(0.5 * logit(scores) - 1))

    found = calibrated(truth, 20_000)
    assert found.method in (Method.PLATT, Method.BETA)
    assert found(GRID) == pytest.approx(truth(GRID), abs=0.05)
    assert found.log_loss.calibrated.value < found.log_loss.raw.value
    assert found.ece.calibrated.upper < found.ece.raw.lower
    assert found.brier.calibrated.value < found.brier.raw.value
    assert found.reviews == found.brier.raw.reviews == found.ece.raw.reviews


def test_isotonic_regression_finds_a_step() -> None:
    """Where the shares follow no smooth curve, isotonic regression is used."""

    def truth(scores: np.ndarray) -> np.ndarray:
        return np.where(scores < 0.3, 0.02, np.where(scores < 0.6, 0.5, 0.55))

    found = calibrated(truth, 20_000)
    assert found.method is Method.ISOTONIC
    assert found(np.array([0.1, 0.45, 0.75])) == pytest.approx([0.02, 0.5, 0.55], abs=0.06)
    assert np.all((found(np.array([0.0, 1.0])) > 0) & (found(np.array([0.0, 1.0])) < 1))


def test_it_is_weighted() -> None:
    """Where safe images are drawn less often than unsafe ones, the shares are those of all."""

    def truth(scores: np.ndarray) -> np.ndarray:
        return np.asarray(0.5 * scores)

    rng = np.random.default_rng(3)
    scores = rng.random(20_000)
    high = scores > 0.5
    found = fit_calibration(
        drawn(rng, scores, rng.random(20_000) < truth(scores), lambda s: np.where(high, 1, 0.1))
    )
    assert found is not None
    assert found(GRID) == pytest.approx(truth(GRID), abs=0.06)


def test_the_curve_rises_and_repeats() -> None:
    """A higher score never has a lower probability; the same reviews give the same curve."""
    sample = stream(np.random.default_rng(4), 20_000)
    first, second = fit_calibration(sample), fit_calibration(sample)
    assert first is not None
    assert first == second
    values = first(np.linspace(0, 1, 200))
    assert np.all(np.diff(values) >= 0)
    assert np.all((values >= 0) & (values <= 1))


def test_too_few_reviews_give_none() -> None:
    """Nineteen unsafe images are too few, twenty are enough."""
    scores = np.random.default_rng(5).random(200)
    for unsafe, enough in ((19, False), (20, True)):
        labels = np.where(np.arange(200) < unsafe, 1, 0)
        found = fit_calibration(Sample(scores, np.ones(200), labels))
        assert (found is not None) is enough
    assert fit_calibration(Sample(scores, np.ones(200), np.full(200, NOT_REVIEWED))) is None


@pytest.mark.parametrize("images", [200, 3000])
def test_good_scores_are_left_as_they_are(images: int) -> None:
    """Probabilities that are right already are hardly ever made worse, or said to be better."""
    changed = 0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        scores = rng.beta(0.6, 1.5, images)
        sample = drawn(rng, scores, rng.random(images) < scores, band_and_audits)
        found = fit_calibration(sample)
        if found is None:
            continue
        changed += found.method is not Method.NONE
        if found.method is Method.NONE:
            assert found(GRID) == pytest.approx(GRID)
            assert found.log_loss.raw == found.log_loss.calibrated
    assert changed <= 1


def test_many_reviews_are_fitted_fast() -> None:
    """The fit of 3,000 reviews takes under 3 s of one core."""
    sample = stream(np.random.default_rng(6), 17_500)
    assert 2_800 < sample.reviews < 3_200
    start = time.process_time()
    assert fit_calibration(sample) is not None
    assert time.process_time() - start < 3


def test_equal_scores_are_left_as_they_are(recwarn: pytest.WarningsRecorder) -> None:
    """Without differences there is nothing to fit, and no warning."""
    found = fit_calibration(Sample(np.full(100, 0.5), np.ones(100), np.arange(100) % 2))
    assert found is not None
    assert found.method is Method.NONE
    assert len(recwarn) == 0
