"""Decoding no more of a JPEG than is needed: the same facts, the same scores, in the same order."""

import hashlib
import io
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from nsfw_app.concurrency import map_ordered
from nsfw_app.errors import Overloaded
from nsfw_app.imaging.decode import Limits, MinSize, decode
from nsfw_app.models.classifier import DownscaleRule
from nsfw_app.models.loader import Loaded, ModelLoader
from nsfw_app.records import Retain, Upload
from nsfw_app.review.engine import Engine
from nsfw_app.review.policies import PolicyBook
from nsfw_app.store import Store
from tests.support.fakes import LIMITS, FakeClassifier, image_bytes
from tests.support.flawed_files import DISPLAY_P3, profile_with
from tests.unit.test_classifiers import load, package_image

LARGE = Limits(max_bytes=50_000_000, max_pixels=20_000_000, max_frames=4)
NEAR = 0.01
PHOTOS = [
    ("skimage", "data/chelsea.png"),
    ("skimage", "data/coffee.png"),
    ("skimage", "data/astronaut.png"),
    # Decided by the fewest pixels, some of these are more than 0.01 off.
    ("skimage", "data/moon.png"),
    ("gradio", "media_assets/images/groot.jpeg"),
]


def jpeg(image: Image.Image, *, quality: int = 90, **options: object) -> bytes:
    """An image as a JPEG file."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, **options)
    return buffer.getvalue()


def enlarged(package: str, name: str, longer: int) -> Image.Image:
    """A sample image with this many pixels on its longer side."""
    image = package_image(package, name)
    share = longer / max(image.size)
    return image.resize(
        (round(image.width * share), round(image.height * share)), Image.Resampling.LANCZOS
    )


@pytest.fixture(scope="module")
def embedded() -> Loaded:
    """The embedded model."""
    return Loaded(load("open-nsfw"))


@pytest.fixture
def real(store: Store, embedded: Loaded) -> Engine:
    """An engine with the embedded model."""
    loader = ModelLoader("open-nsfw", lambda: embedded)
    loader.wait()
    return Engine(store=store, loader=loader, limits=LARGE, policies=PolicyBook(store.policies))


@pytest.mark.parametrize("quality", [10, 30, 60, 95])
@pytest.mark.parametrize("longer", [1200, 2600, 4000])
@pytest.mark.parametrize(("package", "name"), PHOTOS)
def test_score_is_that_of_full_size(
    real: Engine, embedded: Loaded, package: str, name: str, longer: int, quality: int
) -> None:
    """At any JPEG quality within 0.01; name, hash and size stay those of the file."""
    image = enlarged(package, name, longer)
    data = jpeg(image, quality=quality)
    review = real.review(data, Upload("a.jpg", "command"))
    with Image.open(io.BytesIO(data)) as whole:
        [probabilities] = embedded.classifier.predict([whole.convert("RGB")])
    assert review.prediction is not None
    assert review.image is not None
    assert review.prediction.nsfw_score == pytest.approx(probabilities["nsfw"], abs=NEAR)
    assert review.prediction.image_sha256 == hashlib.sha256(data).hexdigest()
    assert (review.image.width, review.image.height) == image.size


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}], ids=str)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_every_kind_of_jpeg_is_reduced(mode: str, options: dict[str, object]) -> None:
    """To no fewer pixels than the minimum size; the reported size stays that of the file."""
    image = enlarged("skimage", "data/coffee.png", 2400).convert(mode)
    decoded = decode(jpeg(image, **options), name="a.jpg", limits=LARGE, min_size=MinSize(512))
    (frame,) = decoded.frames
    assert decoded.reduced
    assert (decoded.info.width, decoded.info.height) == image.size
    assert 512 <= min(frame.image.size) < min(image.size)
    assert frame.image.mode == "RGB"


def test_rotated_jpeg_is_reduced_and_rotated() -> None:
    """The EXIF orientation holds for fewer pixels, too."""
    image = enlarged("skimage", "data/coffee.png", 2400)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    decoded = decode(jpeg(image, exif=exif), name="a.jpg", limits=LARGE, min_size=MinSize(512))
    assert decoded.reduced
    assert (decoded.info.width, decoded.info.height) == image.size[::-1]
    assert decoded.frames[0].image.width < decoded.frames[0].image.height


@pytest.mark.parametrize("min_size", [MinSize(900), MinSize(longer=2000), MinSize(500, 1400), None])
def test_no_side_is_below_the_minimum_size(min_size: MinSize | None) -> None:
    """Either side may require more pixels; without a minimum size the image is full size."""
    image = enlarged("skimage", "data/coffee.png", 2400)
    (frame,) = decode(jpeg(image), name="a.jpg", limits=LARGE, min_size=min_size).frames
    needed = min_size or MinSize(*image.size[::-1])
    assert min(frame.image.size) >= needed.shorter
    assert max(frame.image.size) >= needed.longer


@pytest.mark.parametrize(
    ("longer", "side"), [(4000, 1500), (4300, 1600), (3000, 1500), (2800, 1600), (1500, 1500)]
)
def test_stored_preview_is_large(real: Engine, store: Store, longer: int, side: int) -> None:
    """The preview has at least 1440 pixels on its longer side, though the model needs fewer."""
    data = jpeg(enlarged("skimage", "data/coffee.png", longer))
    review = real.review(data, Upload("a.jpg", "gallery", "ann", retain=Retain.QUEUE))
    assert review.sha256 is not None
    with Image.open(io.BytesIO(store.previews.get(review.sha256))) as kept:
        assert max(kept.size) == side


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}], ids=str)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("size", [(801, 601), (802, 602), (803, 603), (805, 604), (807, 606)])
def test_three_eighths_are_decoded_like_other_scales(
    size: tuple[int, int], mode: str, options: dict[str, object]
) -> None:
    """Three eighths, rounded up, show the same image, for every width and kind of JPEG."""
    image = package_image("skimage", "data/coffee.png").resize(size).convert(mode)
    data = jpeg(image, **options)
    scaled = -(-size[0] * 3 // 8), -(-size[1] * 3 // 8)
    (whole,) = decode(data, name="a.jpg", limits=LARGE).frames
    (frame,) = decode(data, name="a.jpg", limits=LARGE, min_size=MinSize(scaled[1] - 2)).frames
    assert frame.image.size == scaled
    # Smaller still, as rounding up moves the right edge by up to a pixel.
    shown = [one.resize((64, 48), Image.Resampling.BOX) for one in (frame.image, whole.image)]
    assert difference(*shown) < 4


def difference(one: Image.Image, other: Image.Image) -> float:
    """Mean difference of two images of the same size, in gray levels."""
    pixels = (np.asarray(image, dtype=float) for image in (one, other))
    return float(np.abs(np.subtract(*pixels)).mean())


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("profile", [b"", profile_with(primaries=DISPLAY_P3)], ids=["srgb", "p3"])
def test_preview_shows_the_image_at_full_size(
    real: Engine, store: Store, profile: bytes, orientation: int
) -> None:
    """A preview decoded at three eighths looks like one made of all pixels."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    image = enlarged("skimage", "data/astronaut.png", 4000)
    data = jpeg(image, exif=exif, icc_profile=profile)
    review = real.review(data, Upload("a.jpg", "gallery", "ann", retain=Retain.QUEUE))
    (frame,) = decode(data, name="a.jpg", limits=LARGE).frames
    with Image.open(io.BytesIO(store.previews.get(review.sha256 or ""))) as kept:
        expected = frame.image.resize(kept.size, Image.Resampling.HAMMING)
        assert kept.size == (1500, 1500)
        assert difference(kept, expected) < 2


def test_scores_with_and_without_a_preview_agree(real: Engine, store: Store) -> None:
    """The larger decoding for a preview moves no score by more than the documented limit."""
    scores = []
    for package, name in PHOTOS:
        data = jpeg(enlarged(package, name, 4000))
        for retain in (Retain.NOTHING, Retain.QUEUE):
            kept = real.review(data, Upload("a.jpg", "gallery", "ann", retain=retain))
            assert kept.prediction is not None
            scores.append(kept.prediction.nsfw_score)
    assert scores[::2] == pytest.approx(scores[1::2], abs=NEAR)


class RecordsSizes(FakeClassifier):
    """Records the sizes of its inputs."""

    downscale_rules = (DownscaleRule(200, 0.02), DownscaleRule(400, 0.04))

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[tuple[int, int]] = []

    def predict(self, images: Sequence[Image.Image]) -> list[dict[str, float]]:
        """See `Classifier.predict`."""
        self.sizes += [image.size for image in images]
        return super().predict(images)


@pytest.mark.parametrize(
    ("red", "sizes"), [(0, [200]), (7, [200, 400]), (20, [200, 1600]), (200, [200, 1600])]
)
def test_only_low_scores_are_computed_from_fewer_pixels(
    store: Store, red: int, sizes: list[int]
) -> None:
    """Higher scores are computed again from more pixels, and the last score counts."""
    first, second = RecordsSizes.downscale_rules
    assert first.max_score < 7 / 255 < second.max_score < 20 / 255
    shown = RecordsSizes()
    loader = ModelLoader("fake", lambda: Loaded(shown))
    loader.wait()
    engine = Engine(store=store, loader=loader, limits=LIMITS, policies=PolicyBook(store.policies))
    data = image_bytes(red, size=(1600, 1600), image_format="JPEG")
    engine.review(data, Upload("a.jpg", "command"))
    assert shown.sizes == [(side, side) for side in sizes]


class WaitsForSecond(FakeClassifier):
    """Returns the first prediction only after the second image was passed in."""

    def __init__(self) -> None:
        super().__init__()
        self.second = threading.Event()

    def predict(self, images: Sequence[Image.Image]) -> list[dict[str, float]]:
        """See `Classifier.predict`."""
        if images[0].getpixel((0, 0))[0] == 0:
            assert self.second.wait(10)
        self.second.set()
        return super().predict(images)


def test_files_are_read_ahead_and_results_are_in_order(store: Store, tmp_path: Path) -> None:
    """While the model runs, the next files are decoded; results keep the order of the files."""
    waits = WaitsForSecond()
    loader = ModelLoader("fake", lambda: Loaded(waits))
    engine = Engine(store=store, loader=loader, limits=LIMITS, policies=PolicyBook(store.policies))
    paths = [tmp_path / f"{red}.png" for red in range(40)]
    for red, path in enumerate(paths):
        path.write_bytes(image_bytes(red))
    reviews = list(engine.review_files(paths, source="command"))
    assert [review.name for review in reviews] == [str(path) for path in paths]
    assert [round(r.prediction.nsfw_score * 255) for r in reviews if r.prediction] == [*range(40)]


def test_closed_iterator_starts_no_more_work() -> None:
    """After it is closed, only work in progress is finished."""
    started = []
    stopped = threading.Event()

    def act(number: int) -> None:
        started.append(number)
        assert number == 0 or stopped.wait(10)

    results = map_ordered(act, range(99), concurrency=2)
    next(results)
    while len(started) < 3:
        time.sleep(0.001)
    threading.Timer(0.2, stopped.set).start()
    results.close()
    assert sorted(started) == [0, 1, 2]


class Full(FakeClassifier):
    """Raises `Overloaded` for every second image."""

    def predict(self, images: Sequence[Image.Image]) -> list[dict[str, float]]:
        """See `Classifier.predict`."""
        self.seen += 1
        if self.seen % 2:
            raise Overloaded("Full.", retry_after_s=0)
        return super().predict(images)


def test_command_retries_if_the_model_is_overloaded(store: Store, tmp_path: Path) -> None:
    """Files that meet an overloaded model are classified later; the run continues."""
    loader = ModelLoader("fake", lambda: Loaded(Full()))
    engine = Engine(store=store, loader=loader, limits=LIMITS, policies=PolicyBook(store.policies))
    paths = [tmp_path / f"{red}.png" for red in range(20)]
    for red, path in enumerate(paths):
        path.write_bytes(image_bytes(red))
    reviews = list(engine.review_files(paths, source="command"))
    assert [review.problem for review in reviews] == [None] * 20
