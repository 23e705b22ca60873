"""Transparent images, whose content may differ on white and on black."""

import io
import zlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from nsfw_app.imaging import transparency
from nsfw_app.imaging.decode import DecodedImage, decode
from nsfw_app.models.loader import Loaded, ModelLoader
from nsfw_app.records import Background, Retain, Upload, WarningCode
from nsfw_app.review.engine import Engine
from nsfw_app.review.policies import PolicyBook
from nsfw_app.store import Store
from tests.support.fakes import LIMITS, FakeClassifier, image_bytes
from tests.support.flawed_files import PHOTO, differs_on_black
from tests.support.image_files import animated, encoded, png
from tests.support.sample_records import person

OTHER = PHOTO.transpose(Image.Transpose.ROTATE_180)
BOTH = [Background.WHITE, Background.BLACK]
DIFFERENT = differs_on_black(OTHER.resize((300, 300)), PHOTO.resize((300, 300)))


def decoded(data: bytes) -> DecodedImage:
    """The decoded file, under a name without extension."""
    return decode(data, name="image", limits=LIMITS)


def warned(data: bytes) -> bool:
    """Whether there is a warning about transparency."""
    return WarningCode.TRANSPARENCY in [warning.code for warning in decoded(data).info.warnings]


def backgrounds(data: bytes) -> list[Background]:
    """The backgrounds of the frames."""
    return [frame.background for frame in decoded(data).frames]


def with_alpha(alpha: Image.Image, image: Image.Image = PHOTO) -> bytes:
    """A PNG of an image with an alpha channel."""
    result = image.convert("RGB").resize(alpha.size)
    result.putalpha(alpha)
    return encoded(result, "PNG")


def disc(size: int = 256) -> Image.Image:
    """A round shape with a smooth edge, mode L."""
    large = Image.new("L", (8 * size, 8 * size))
    ImageDraw.Draw(large).ellipse((size, size, 7 * size, 7 * size), fill=255)
    return large.resize((size, size), Image.Resampling.LANCZOS)


@pytest.mark.parametrize("image_format", ["PNG", "WEBP", "TIFF", "AVIF"])
def test_both_contents_are_decoded(image_format: str) -> None:
    """An image that differs on black is decoded on white and on black, with a warning."""
    data = encoded(DIFFERENT if image_format != "AVIF" else DIFFERENT.convert("RGBA"), image_format)
    image = decoded(data)
    assert [frame.background for frame in image.frames] == BOTH
    assert [w.code for w in image.info.warnings] == [WarningCode.TRANSPARENCY]
    for frame, original, scale in zip(image.frames, (OTHER, PHOTO), (0.5, 0.45), strict=True):
        expected = np.asarray(original.resize((300, 300)).convert("L")) * scale
        seen = np.asarray(frame.image.convert("L"), dtype=float)
        assert np.corrcoef(expected.ravel(), seen.ravel())[0, 1] > 0.9


HARMLESS = {
    "a logo with a smooth edge": (with_alpha(disc()), BOTH),
    "a photo with few round corners": (
        with_alpha(Image.new("L", (256, 256), 255)),
        [Background.WHITE],
    ),
    "an even fade": (
        with_alpha(Image.new("L", (256, 256), 128)),
        BOTH,
    ),
    "a gradient": (with_alpha(Image.linear_gradient("L")), BOTH),
    "a vignette": (with_alpha(Image.radial_gradient("L")), BOTH),
    "nearly opaque": (with_alpha(Image.new("L", (256, 256), 253)), [Background.WHITE]),
    "nothing at all": (
        with_alpha(Image.new("L", (256, 256), 0)),
        BOTH,
    ),
}


@pytest.mark.parametrize("kind", HARMLESS)
def test_same_content_on_both_backgrounds_has_no_warning(kind: str) -> None:
    """Surroundings, edges and fades are decoded on both backgrounds, without a warning."""
    data, expected = HARMLESS[kind]
    assert not warned(data)
    assert backgrounds(data) == expected


def test_what_only_black_shows_is_warned_of() -> None:
    """White strokes on nothing cannot be seen on white."""
    strokes = disc().filter(ImageFilter.FIND_EDGES)
    assert warned(with_alpha(strokes, Image.new("RGB", (8, 8), "white")))
    assert not warned(with_alpha(strokes, Image.new("RGB", (8, 8), "black")))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_opaque_alpha_costs_nothing_more(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An opaque alpha channel gives one frame, and nothing is composed."""
    original = PHOTO.convert(mode)

    def fail(*_: object) -> None:
        pytest.fail("Composed.")

    monkeypatch.setattr(transparency, "_composed", fail)
    image = decoded(encoded(original, "PNG"))
    assert [frame.background for frame in image.frames] == [Background.WHITE]
    assert np.array_equal(np.asarray(image.frames[0].image), np.asarray(original.convert("RGB")))


def test_large_image_is_smaller_on_black() -> None:
    """The image on black has a quarter of the pixels at most, to fit the memory budget."""
    alpha = disc(300).resize((2000, 1900))
    white, black = decoded(with_alpha(alpha)).frames
    assert white.image.size == (2000, 1900)
    assert black.image.size == (1000, 950)
    shrunk = white.image.resize((1000, 950), Image.Resampling.BOX)
    one, other = (np.asarray(i.crop((400, 400, 600, 600)), float) for i in (shrunk, black.image))
    assert np.abs(one - other).max() <= 1


def test_every_frame_is_on_both_backgrounds() -> None:
    """Also in an animation, as long as its opacity makes a difference."""
    frames = [DIFFERENT.convert("RGBA").rotate(90 * number) for number in range(3)]
    image = decoded(animated(frames, "PNG"))
    assert [(f.number, f.background.value) for f in image.frames] == [
        (number, background) for number in range(3) for background in ("white", "black")
    ]


@pytest.fixture
def data() -> bytes:
    """A differing image whose first pixel has a red of 150 on white and of 20 on black."""
    images = [image.resize((64, 64)) for image in (OTHER, PHOTO)]
    for image in images:
        image.paste((45, 45, 45), (0, 0, 8, 8))
    return encoded(differs_on_black(*images), "PNG")


class Inverted(FakeClassifier):
    """Scores the lack of red, so that what is dark scores high."""

    identity = replace(FakeClassifier.identity, model="inverted")

    def predict(self, images: object) -> list[dict[str, float]]:
        """See `Classifier.predict`."""
        return [
            {"normal": answer["nsfw"], "nsfw": answer["normal"]}
            for answer in super().predict(images)  # type: ignore[arg-type]
        ]


@pytest.mark.parametrize(
    ("classifier", "background"),
    [(FakeClassifier(), Background.WHITE), (Inverted(), Background.BLACK)],
)
def test_the_worse_background_counts(
    store: Store, data: bytes, classifier: FakeClassifier, background: Background
) -> None:
    """Both are classified in one batch; score, preview and warning are of the higher score."""
    loader = ModelLoader("fake", lambda: Loaded(classifier))
    loader.wait()
    engine = Engine(store=store, loader=loader, limits=LIMITS, policies=PolicyBook(store.policies))
    review = engine.review(data, Upload("a.png", "gallery", "ann", retain=Retain.QUEUE))
    white, black = (frame.image.getpixel((0, 0))[0] for frame in decoded(data).frames)
    assert (white > 120, black < 60) == (True, True)
    assert review.prediction is not None
    assert review.prediction.background is background
    expected = {Background.WHITE: white / 255, Background.BLACK: 1 - black / 255}[background]
    assert review.prediction.nsfw_score == pytest.approx(expected)
    assert classifier.seen == 2
    [warning] = review.warnings
    assert warning.message.endswith(f"use the {background} background.")
    kept = store.previews.get(review.sha256 or "")
    again = engine.render_preview(
        data, name="a.png", frame=0, background=background, caller=person("ann")
    )
    for jpeg in (kept, again):
        with Image.open(io.BytesIO(jpeg)) as image:
            red = image.getpixel((2, 2))[0]
        assert red == pytest.approx(white if background is Background.WHITE else black, abs=12)
    stored = store.catalog.find(review.sha256 or "", classifier.identity)
    assert stored is not None
    assert stored.prediction == review.prediction
    assert stored.info == review.image


def test_opaque_image_is_classified_once(engine: Engine, classifier: FakeClassifier) -> None:
    """Without transparency there is one frame, on white."""
    review = engine.review(image_bytes(9), Upload("a.png", "command"))
    assert classifier.seen == 1
    assert review.prediction is not None
    assert review.prediction.background is Background.WHITE


@pytest.mark.parametrize(
    ("depth", "color", "sample"),
    [(1, 0, 1), (2, 0, 2), (4, 0, 9), (8, 0, 77), (16, 0, 0x1234), (8, 2, 77), (16, 2, 0x12FF)],
)
def test_transparent_color_has_the_depth_of_the_file(depth: int, color: int, sample: int) -> None:
    """In a PNG of any depth, pixels of exactly that color show the background, and no others do."""
    channels = 3 if color == 2 else 1
    other = 0 if depth == 1 else 1 << (depth - 1) - (depth == 2)
    values = [sample] * 32 * channels + [other] * 32 * channels
    bits = "".join(f"{value:0{depth}b}" for value in values)
    row = b"\0" + int(bits, 2).to_bytes(len(bits) // 8)
    data = png(
        (64, 64),
        depth=depth,
        color=color,
        chunks=[(b"tRNS", sample.to_bytes(2) * channels), (b"IDAT", zlib.compress(row * 64))],
    )
    white, black = decoded(data).frames
    assert (white.image.getpixel((3, 3)), black.image.getpixel((3, 3))) == ((255,) * 3, (0,) * 3)
    assert white.image.getpixel((60, 3)) == black.image.getpixel((60, 3))
