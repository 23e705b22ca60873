"""Calibration of downscaling: measured shifts of scores decide."""

import io
import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from nsfw_app.imaging.decode import Limits
from nsfw_app.models import build_files, calibration_set
from nsfw_app.models.classifier import DownscaleRule, Pixels
from nsfw_app.models.loader import Loaded, ModelLoader
from nsfw_app.models.optimize.downscale_calibration import (
    ANY_SCORE,
    MAX_SCORES,
    MAX_SHIFT,
    calibrate,
    limit,
)
from nsfw_app.models.optimized_formats import FILES
from nsfw_app.records import LabelRole, ModelIdentity, Retain, Upload
from nsfw_app.review.engine import Engine
from nsfw_app.review.policies import PolicyBook
from nsfw_app.store import Store
from tests.support.fakes import FakeClassifier, image_bytes
from tests.support.optimized_models import all_formats, loaded
from tests.support.tiny_vit import trained

SIDE = 32
LARGE = Limits(max_bytes=50_000_000, max_pixels=20_000_000, max_frames=4)


class SizeSensitiveBackend:
    """A backend whose scores depend on the size of the image, by a factor."""

    identity = ModelIdentity("size-sensitive", "r1", "f" * 64, "test")
    roles = {"normal": LabelRole.SAFE, "nsfw": LabelRole.UNSAFE}  # noqa: RUF012
    downscale_rules = ()
    max_concurrency = 1
    supports_batching = True

    def __init__(self, sensitivity: float) -> None:
        self.sensitivity = sensitivity

    def prepare(self, image: Image.Image) -> Pixels:
        """The shorter side of the image."""
        return np.array([min(image.size)], dtype=np.float32)

    def score(self, batch: Pixels) -> NDArray[np.float64]:
        """Log-odds that move by `sensitivity` with each doubling."""
        odds = np.exp(-6 + self.sensitivity * np.log2(batch[:, 0].astype(np.float64)))
        unsafe = odds / (1 + odds)
        return np.stack([1 - unsafe, unsafe], axis=1)


@pytest.mark.parametrize("shift", [0.0, 0.01, 0.03, 0.05, 0.1, 0.3, 0.5])
def test_the_limit_is_the_highest_safe_one(shift: float) -> None:
    """No score below it moves too far, and some below every higher limit do."""

    def moved(score: float) -> float:
        return 1 / (1 + math.exp(-math.log(score / (1 - score)) - shift)) - score

    max_score = limit(shift)
    scores = np.linspace(1e-4, min(max_score, 0.999), 500)
    assert all(moved(float(score)) <= MAX_SHIFT for score in scores)
    higher = [one for one in (*MAX_SCORES, 0.5) if one > max_score]
    assert all(moved(one) > MAX_SHIFT for one in higher)


def test_extreme_shifts() -> None:
    """Without a shift every score is safe; with a large one none is."""
    assert limit(0.0) == ANY_SCORE
    assert limit(9.0) == 0.0


def test_an_insensitive_model_needs_few_pixels() -> None:
    """One rule is enough for every score."""
    assert calibrate(SizeSensitiveBackend(0.0), SIDE, calibration_set.bundled()[:3]) == (
        DownscaleRule(2 * SIDE, ANY_SCORE),
    )


def test_a_sensitive_model_has_a_lower_limit() -> None:
    """A larger shift gives a lower limit."""
    images = calibration_set.bundled()[:3]
    ((one,), (other,)) = (
        calibrate(SizeSensitiveBackend(factor), SIDE, images) for factor in (0.05, 0.15)
    )
    assert 0 < other.max_score < one.max_score < 1


def test_a_very_sensitive_model_has_no_rule() -> None:
    """Reduced scale is never enough for it."""
    assert calibrate(SizeSensitiveBackend(3.0), SIDE, calibration_set.bundled()[:3]) == ()


class CertainAtFullSize(SizeSensitiveBackend):
    """A backend that scores large images 1.0 and small ones 0.3."""

    def score(self, batch: Pixels) -> NDArray[np.float64]:
        """Probabilities by size."""
        unsafe = np.where(batch[:, 0] > 4 * SIDE, 1.0, 0.3)
        return np.stack([1 - unsafe, unsafe], axis=1)


def test_a_shift_away_from_certainty_counts() -> None:
    """Only images that are certain at both scales are left out."""
    assert calibrate(CertainAtFullSize(0.0), SIDE, calibration_set.bundled()[:3]) == ()


@pytest.mark.parametrize("kind", FILES)
def test_optimized_models_have_calibrated_rules(
    kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The classifier of an optimized model has the rules of its description."""
    artifacts_dir = all_formats(tmp_path_factory)
    (directory,) = artifacts_dir.glob(f"*/*/{kind}/*")
    found = build_files.read(directory)
    assert found is not None
    assert all(rule.min_side in {2 * SIDE, 4 * SIDE} for rule in found.downscale_rules)
    assert all(0 < rule.max_score <= ANY_SCORE for rule in found.downscale_rules)
    classifier = loaded(trained(tmp_path_factory), artifacts_dir, kind)
    assert classifier.downscale_rules == found.downscale_rules


def test_torch_has_no_rules(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nothing was calibrated for it."""
    assert loaded(trained(tmp_path_factory), Path("none"), "torch").downscale_rules == ()


class FullSizeClassifier(FakeClassifier):
    """A classifier without downscale rules that records the sizes of its images."""

    downscale_rules = ()

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[tuple[int, int]] = []

    def prepare(self, image: Image.Image) -> Image.Image:
        """See `Classifier.prepare`."""
        self.sizes.append(image.size)
        return image


@pytest.mark.parametrize("retain", [Retain.SCORE, Retain.QUEUE])
def test_without_rules_images_are_decoded_in_full(store: Store, retain: Retain) -> None:
    """Once, with and without a preview."""
    classifier = FullSizeClassifier()
    loader = ModelLoader("fake", lambda: Loaded(classifier))
    loader.wait()
    engine = Engine(store=store, loader=loader, limits=LARGE, policies=PolicyBook(store.policies))
    data = image_bytes(0, size=(3000, 2000), image_format="JPEG")
    review = engine.review(data, Upload("a.jpg", "gallery", "ann", retain=retain))
    assert review.problem is None
    assert classifier.sizes == [(3000, 2000)]


def gif(reds: list[int]) -> bytes:
    """An animated GIF of plain frames."""
    frames = [Image.new("RGB", (900, 600), (red, 0, 0)) for red in reds]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=100)
    return buffer.getvalue()


def test_of_an_animation_the_worst_frame_is_kept(engine: Engine, store: Store) -> None:
    """Frames are not kept during inference; the worst one is decoded again for the preview."""
    review = engine.review(
        gif([0, 40, 200, 90]), Upload("a.gif", "gallery", "ann", retain=Retain.QUEUE)
    )
    assert review.prediction is not None
    assert review.prediction.frame == 2
    assert review.sha256 is not None
    with Image.open(io.BytesIO(store.previews.get(review.sha256))) as kept:
        red, _, _ = kept.getpixel((450, 300))
        assert kept.size == (900, 600)
        assert abs(red - 200) < 4
