"""How many pixels are enough for a network: what is measured decides, and nothing else."""

import io
import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from nsfw_app.imaging.decode import Limits
from nsfw_app.models import builds, calibration_set
from nsfw_app.models.classifier import DownscaleRule, Pixels
from nsfw_app.models.formats import FILES
from nsfw_app.models.loader import Loaded, ModelLoader
from nsfw_app.models.optimize.downscaling import ALWAYS, BELOW, MOST_MOVED, calibrate, limit
from nsfw_app.records import LabelRole, ModelIdentity, Upload
from nsfw_app.review.engine import Engine, PolicyDefaults
from nsfw_app.store import Store
from tests.support.fakes import FakeClassifier, picture_bytes
from tests.support.optimized_models import loaded, made
from tests.support.tiny_vit import trained

SIDE = 32
LARGE = Limits(max_bytes=50_000_000, max_pixels=20_000_000, max_frames=4)


class Judge:
    """Scores a picture by its middle, or, as `sees` says, by how many pixels it was made of."""

    identity = ModelIdentity("judge", "r1", "f" * 64, "test")
    roles = {"normal": LabelRole.SAFE, "nsfw": LabelRole.UNSAFE}  # noqa: RUF012
    downscale_rules = ()
    max_concurrency = 1
    supports_batching = True

    def __init__(self, sees: float) -> None:
        self.sees = sees

    def prepare(self, image: Image.Image) -> Pixels:
        """The size of the picture."""
        return np.array([min(image.size)], dtype=np.float32)

    def score(self, batch: Pixels) -> NDArray[np.float64]:
        """Log-odds that move by `sees` with each halving."""
        odds = np.exp(-6 + self.sees * np.log2(batch[:, 0].astype(np.float64)))
        unsafe = odds / (1 + odds)
        return np.stack([1 - unsafe, unsafe], axis=1)


@pytest.mark.parametrize("shift", [0.0, 0.01, 0.03, 0.05, 0.1, 0.3, 0.5])
def test_no_score_below_the_limit_moves_too_far(shift: float) -> None:
    """And of the limits it is the highest of which that is true."""

    def moved(score: float) -> float:
        return 1 / (1 + math.exp(-math.log(score / (1 - score)) - shift)) - score

    below = limit(shift)
    scores = np.linspace(1e-4, min(below, 0.999), 500)
    assert all(moved(float(score)) <= MOST_MOVED for score in scores)
    higher = [one for one in (*BELOW, 0.5) if one > below]
    assert all(moved(one) > MOST_MOVED for one in higher)


def test_the_limits() -> None:
    """Whoever never moves is always right, and who moves far never."""
    assert limit(0.0) == ALWAYS
    assert limit(9.0) == 0.0


def test_a_network_that_sees_no_difference_needs_few_pixels() -> None:
    """The first step is enough for every score, and no second is needed."""
    assert calibrate(Judge(0.0), SIDE, calibration_set.bundled()[:3]) == (
        DownscaleRule(2 * SIDE, ALWAYS),
    )


def test_a_network_that_sees_some_is_trusted_with_low_scores() -> None:
    """Twice the shift, a lower limit."""
    pictures = calibration_set.bundled()[:3]
    ((one,), (other,)) = (calibrate(Judge(sees), SIDE, pictures) for sees in (0.05, 0.15))
    assert 0 < other.max_score < one.max_score < 1


def test_a_network_that_sees_much_is_shown_all() -> None:
    """No step is safe for it."""
    assert calibrate(Judge(3.0), SIDE, calibration_set.bundled()[:3]) == ()


class Flips(Judge):
    """Is sure that a whole picture is unsafe, and half sure of one with few pixels."""

    def score(self, batch: Pixels) -> NDArray[np.float64]:
        """1 for many pixels."""
        unsafe = np.where(batch[:, 0] > 4 * SIDE, 1.0, 0.3)
        return np.stack([1 - unsafe, unsafe], axis=1)


def test_a_score_that_leaves_certainty_counts() -> None:
    """Only what is certain both times tells nothing."""
    assert calibrate(Flips(0.0), SIDE, calibration_set.bundled()[:3]) == ()


@pytest.mark.parametrize("kind", FILES)
def test_it_is_measured_when_a_network_is_made_faster(
    kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The tiny Vision Transformer looks at colour; its classifier has what its file says."""
    artifacts_dir = made(tmp_path_factory)
    (directory,) = artifacts_dir.glob(f"*/*/{kind}/*")
    found = builds.read(directory)
    assert found is not None
    assert all(rule.min_side in {2 * SIDE, 4 * SIDE} for rule in found.downscale_rules)
    assert all(0 < rule.max_score <= ALWAYS for rule in found.downscale_rules)
    classifier = loaded(trained(tmp_path_factory), artifacts_dir, kind)
    assert classifier.downscale_rules == found.downscale_rules


def test_torch_is_shown_all(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nobody has measured anything for it."""
    assert loaded(trained(tmp_path_factory), Path("none"), "torch").downscale_rules == ()


class Shown(FakeClassifier):
    """Was measured to need all pixels, and remembers how many it got."""

    downscale_rules = ()

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[tuple[int, int]] = []

    def prepare(self, image: Image.Image) -> Image.Image:
        """See `Classifier.prepare`."""
        self.sizes.append(image.size)
        return image


@pytest.mark.parametrize("owner", [None, "ann"])
def test_who_needs_all_pixels_gets_them(store: Store, owner: str | None) -> None:
    """With and without a picture for people, once."""
    shown = Shown()
    loader = ModelLoader("fake", lambda: Loaded(shown))
    loader.wait()
    engine = Engine(store=store, loader=loader, limits=LARGE, defaults=PolicyDefaults())
    data = picture_bytes(0, size=(3000, 2000), image_format="JPEG")
    review = engine.review(data, Upload("a.jpg", "gallery", owner))
    assert review.problem is None
    assert shown.sizes == [(3000, 2000)]


def animation(reds: list[int]) -> bytes:
    """A GIF of plain frames."""
    frames = [Image.new("RGB", (900, 600), (red, 0, 0)) for red in reds]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=100)
    return buffer.getvalue()


def test_of_an_animation_the_worst_frame_is_kept(engine: Engine, store: Store) -> None:
    """Frames are not held while the model thinks: the one that counts is decoded again."""
    review = engine.review(animation([0, 40, 200, 90]), Upload("a.gif", "gallery", "ann"))
    assert review.prediction is not None
    assert review.prediction.frame == 2
    assert review.sha256 is not None
    with Image.open(io.BytesIO(store.previews.get(review.sha256))) as kept:
        red, _, _ = kept.getpixel((450, 300))
        assert kept.size == (900, 600)
        assert abs(red - 200) < 4
