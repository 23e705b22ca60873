"""Embedded color profiles: model and reviewers see what a color-managed browser shows."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from nsfw_app.imaging import color
from nsfw_app.imaging.decode import DecodedImage, decode
from nsfw_app.imaging.frames import MinSize
from nsfw_app.records import Background, Retain, Upload, WarningCode
from nsfw_app.review.engine import Engine
from tests.support.fakes import LIMITS
from tests.support.flawed_files import (
    DISPLAY_P3,
    PHOTO,
    PHOTO_PNG,
    SWAPPED,
    chunk,
    cmyk_profile,
    gray_profile,
    pixels,
    profile_with,
    with_chunk,
)
from tests.support.image_files import FILES, animated, encoded, srgb_profile
from tests.support.sample_records import person
from tests.unit.test_classifiers import load

SWAP = profile_with(names=SWAPPED)
P3 = profile_with(primaries=DISPLAY_P3)
NEARLY_SRGB = {b"rXYZ": (0.4361, 0.2225, 0.0139)}  # as other programs round it
RGB_FORMATS = ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"]


def decoded(data: bytes, *, min_size: MinSize | None = None) -> DecodedImage:
    """The decoded file, under a name without extension."""
    return decode(data, name="image", limits=LIMITS, min_size=min_size)


def on_white(data: bytes) -> np.ndarray:
    """The first frame on white of a file without warnings."""
    image = decoded(data)
    assert image.info.warnings == ()
    frames = [frame for frame in image.frames if frame.background is Background.WHITE]
    return np.asarray(frames[0].image).astype(int)


def swapped(image: Image.Image) -> Image.Image:
    """Red and blue exchanged, as the profile `SWAP` says they are."""
    bands = image.split()
    return Image.merge(image.mode, (*bands[2::-1], *bands[3:]))


@pytest.mark.parametrize("image_format", RGB_FORMATS)
def test_profile_is_applied_in_every_format(image_format: str) -> None:
    """A file with exchanged channels and a matching profile shows the original."""
    data = encoded(swapped(PHOTO), image_format, icc_profile=SWAP)
    raw = encoded(swapped(PHOTO), image_format)
    assert np.abs(on_white(data) - on_white(raw)[..., ::-1]).max() <= 1


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "LA", "1"])
def test_profile_is_applied_to_every_mode(mode: str) -> None:
    """An RGB profile counts for colors, palettes and grays, with and without transparency."""
    image = PHOTO.quantize(64) if mode == "P" else swapped(PHOTO).convert(mode)
    if mode == "P":
        image.putpalette(np.array(image.getpalette()).reshape(-1, 3)[:, ::-1].ravel().tolist())
    if mode.endswith("A"):
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    with_profile = on_white(encoded(image, "PNG", icc_profile=SWAP))
    without = on_white(encoded(image, "PNG"))
    assert np.abs(with_profile - without[..., ::-1]).max() <= 1


def test_colors_are_those_of_the_profile() -> None:
    """Display P3's red is more than sRGB has, and its grays are sRGB's."""
    image = Image.new("RGB", (16, 16), (200, 30, 40))
    shown = on_white(encoded(image, "PNG", icc_profile=P3))[8, 8]
    assert shown.tolist() == pytest.approx([218, 0, 27], abs=3)
    gray = Image.new("RGB", (16, 16), (120, 120, 120))
    assert np.abs(on_white(encoded(gray, "PNG", icc_profile=P3)) - 120).max() <= 1


def test_gray_profile_is_applied() -> None:
    """A gray of a power law is the gray that it is in sRGB."""
    image = Image.new("L", (16, 16), 128)
    for gamma, expected in ((1.0, 188), (2.2, 128), (3.0, 102)):
        for image_format in ("JPEG", "PNG", "TIFF"):
            data = encoded(image, image_format, icc_profile=gray_profile(gamma))
            assert on_white(data)[8, 8].tolist() == pytest.approx([expected] * 3, abs=4)


def test_gray_profile_keeps_transparency() -> None:
    """The profile does not change the alpha channel of a gray image."""
    image = Image.new("LA", (16, 16), (128, 100))
    shown = on_white(encoded(image, "PNG", icc_profile=gray_profile(1.0)))[8, 8]
    assert shown.tolist() == pytest.approx([188 * 100 / 255 + 155] * 3, abs=3)


@pytest.mark.parametrize("image_format", ["JPEG", "TIFF"])
def test_cmyk_profile_is_applied(image_format: str) -> None:
    """CMYK is converted by its profile, not by Pillow's formula."""
    image = PHOTO.convert("CMYK")
    options = {"quality": 100} if image_format == "JPEG" else {}
    data = encoded(image, image_format, icc_profile=cmyk_profile(), **options)
    with Image.open(io.BytesIO(data)) as stored:
        transform = ImageCms.buildTransform(
            io.BytesIO(cmyk_profile()),
            ImageCms.createProfile("sRGB"),
            "CMYK",
            "RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
        expected = np.asarray(ImageCms.applyTransform(stored, transform)).astype(int)
    shown = on_white(data)
    assert np.abs(shown - expected).max() <= 1
    assert np.abs(shown - on_white(encoded(image, image_format, **options))).mean() > 10


def test_profile_is_applied_at_reduced_scale() -> None:
    """A JPEG that is decoded with fewer pixels shows the same colors."""
    large = swapped(PHOTO.resize((1600, 1200)))
    image = decoded(encoded(large, "JPEG", icc_profile=SWAP), min_size=MinSize(128))
    (frame,) = image.frames
    expected = np.asarray(PHOTO.resize(frame.image.size)).astype(int)
    assert image.reduced
    assert np.abs(np.asarray(frame.image) - expected).mean() < 10


def test_profile_is_applied_to_every_frame() -> None:
    """Also in an animation."""
    frames = [Image.new("RGB", (24, 16), (level, 0, 50)) for level in (10, 200, 90)]
    shown = decoded(animated(frames, "PNG", icc_profile=SWAP)).frames
    assert [frame.image.getpixel((2, 2)) for frame in shown] == [
        pytest.approx((50, 0, level), abs=1) for level in (10, 200, 90)
    ]


BROKEN = {
    "no profile": b"icc " * 40,
    "cut short": P3[:200],
    "header only": P3[:128],
    "empty": b"\0",
    "for other pixels": gray_profile(2.2),
    "for a printer": cmyk_profile(),
    "of Lab": P3[:16] + b"Lab " + P3[20:],
}


@pytest.mark.parametrize("image_format", RGB_FORMATS)
@pytest.mark.parametrize("flaw", BROKEN)
def test_broken_profile_is_ignored(image_format: str, flaw: str) -> None:
    """A profile that cannot be used changes no pixel, and adds a warning."""
    image = decoded(encoded(PHOTO, image_format, icc_profile=BROKEN[flaw]))
    assert [warning.code for warning in image.info.warnings] == [WarningCode.COLOR_PROFILE]
    plain = on_white(encoded(PHOTO, image_format))
    assert np.array_equal(np.asarray(image.frames[0].image), plain)


def test_profile_of_a_png_that_does_not_unpack_is_ignored() -> None:
    """Damaged compression in the chunk is a damaged profile."""
    for body in (b"name\0\0not zlib", b"name\0\1x", b""):
        image = decoded(with_chunk(PHOTO_PNG, chunk(b"iCCP", body)))
        assert [warning.code for warning in image.info.warnings] == [WarningCode.COLOR_PROFILE]
        assert np.array_equal(np.asarray(image.frames[0].image), pixels(PHOTO_PNG))


def test_profile_of_a_jpeg_that_lacks_a_part_is_ignored() -> None:
    """Of a profile in several segments all must be there."""
    data = encoded(PHOTO, "JPEG", icc_profile=P3 + bytes(90_000))
    at = data.rindex(b"ICC_PROFILE\0") - 4
    length = int.from_bytes(data[at + 2 : at + 4])
    image = decoded(data[:at] + data[at + 2 + length :])
    assert [warning.code for warning in image.info.warnings] == [WarningCode.COLOR_PROFILE]


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "tiff", "avif", "heic"])
def test_srgb_profile_changes_nothing(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile that is sRGB in effect leaves every pixel as it is, without a conversion."""

    def fail(*_: object) -> None:
        pytest.fail("Converted.")

    monkeypatch.setattr(color, "_from_rgb", fail)
    plain = PHOTO if kind != "tiff" else PHOTO.convert("RGBA")
    image_format = {"heic": "HEIF"}.get(kind, kind.upper())
    expected = on_white(encoded(plain, image_format))
    for profile in (srgb_profile(), profile_with(primaries=NEARLY_SRGB)):
        shown = on_white(encoded(plain, image_format, icc_profile=profile))
        assert np.array_equal(shown, expected)


def test_profiles_are_built_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile is read once, and the number of cached profiles is limited."""
    built = []
    build = color._built
    monkeypatch.setattr(color, "_TRANSFORMS", color._Transforms())
    monkeypatch.setattr(color, "_built", lambda profile: built.append(1) or build(profile))
    for _ in range(3):
        decoded(encoded(PHOTO, "JPEG", icc_profile=P3))
        decoded(encoded(PHOTO, "JPEG", icc_profile=b"icc " * 40))
    assert len(built) == 2
    for number in range(color.KEPT_TRANSFORMS + 5):
        decoded(encoded(PHOTO, "PNG", icc_profile=b"icc" + bytes([number]) * 60))
    assert len(color._TRANSFORMS._kept) == color.KEPT_TRANSFORMS


def test_without_a_profile_pixels_are_what_pillow_makes_of_them() -> None:
    """Files of every format without a profile have the same pixels as before."""
    kinds = ["jpeg-progressive", "jpeg-cmyk", "png-palette", "gif", "bmp", "dib", "tiff-lzw"]
    for kind in kinds:
        with Image.open(io.BytesIO(FILES[kind])) as image:
            rgba = image.convert("RGBA") if image.has_transparency_data else None
            white = Image.new("RGBA", image.size, "white")
            plain = Image.alpha_composite(white, rgba) if rgba else image
            expected = np.asarray(plain.convert("RGB"))
        assert np.array_equal(on_white(FILES[kind]), expected), kind


@pytest.mark.parametrize("kind", ["RGBA", "LA"])
def test_transparency_without_a_profile_is_composed_as_before(kind: str) -> None:
    """Flattened in boxes and in place, the image on white is the same to the bit."""
    image = PHOTO.resize((900, 700)).convert("RGBA")
    image.putalpha(Image.radial_gradient("L").resize(image.size))
    image = image.convert(kind)
    white = Image.new("RGBA", image.size, "white")
    expected = Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    assert np.array_equal(on_white(encoded(image, "PNG")), np.asarray(expected))


def test_image_with_a_profile_scores_like_its_twin(engine: Engine) -> None:
    """With the embedded model, an image with a profile is within 0.01 of the same image without."""
    classifier = load("open-nsfw")
    scores = []
    for data in (
        encoded(PHOTO.resize((300, 300)), "JPEG", quality=95, subsampling=0),
        encoded(
            swapped(PHOTO.resize((300, 300))), "JPEG", quality=95, subsampling=0, icc_profile=SWAP
        ),
    ):
        [probabilities] = classifier.predict([decoded(data).frames[0].image])
        scores.append(probabilities["nsfw"])
    assert scores[0] == pytest.approx(scores[1], abs=0.01)


def test_preview_shows_the_same_colors(engine: Engine) -> None:
    """Previews are sRGB, without a profile."""
    original = Image.new("RGB", (64, 48), (200, 30, 40))
    data = encoded(original, "PNG", icc_profile=SWAP)
    sha256 = (
        engine.review(data, Upload("a.png", "gallery", "ann", retain=Retain.QUEUE)).sha256 or ""
    )
    rendered = engine.render_preview(data, name="a.png", frame=0, caller=person("ann"))
    shown = [rendered, engine._store.previews.get(sha256)]
    for jpeg in shown:
        with Image.open(io.BytesIO(jpeg)) as image:
            assert "icc_profile" not in image.info
            assert image.getpixel((5, 5)) == pytest.approx((40, 30, 200), abs=6)


SRGB_POINTS = (31_270, 32_900, 64_000, 33_000, 30_000, 60_000, 15_000, 6000)
P3_POINTS = (31_270, 32_900, 68_000, 32_000, 26_500, 69_000, 15_000, 6000)


def gamma(value: int) -> bytes:
    """A gAMA chunk, in 100,000ths."""
    return chunk(b"gAMA", struct.pack(">I", value))


def primaries(*points: int) -> bytes:
    """A cHRM chunk."""
    return chunk(b"cHRM", struct.pack(">8I", *points))


def profile_chunk(profile: bytes) -> bytes:
    """An iCCP chunk."""
    return chunk(b"iCCP", b"name\0\0" + zlib.compress(profile))


def linear(levels: np.ndarray) -> np.ndarray:
    """Light of sRGB levels, in [0, 1]."""
    shares = levels / 255
    return np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)


@pytest.mark.parametrize("exponent", [100_000, 50_000, 20_000])
def test_gamma_of_a_png_is_applied(exponent: int) -> None:
    """An image stored with another gamma, and a chunk with that gamma, shows the same."""
    stored = np.round(linear(np.asarray(PHOTO)) ** (exponent / 100_000) * 255).astype(np.uint8)
    data = with_chunk(encoded(Image.fromarray(stored), "PNG"), gamma(exponent))
    shown = on_white(data)
    assert np.abs(shown - np.asarray(PHOTO).astype(int)).mean() < 6  # 8 bits of linear light
    assert np.abs(shown - stored).mean() > 10 or exponent == 50_000


def test_primaries_of_a_png_are_applied() -> None:
    """Display P3 described by gAMA with cHRM, or by cICP, looks as with its profile."""
    image = encoded(Image.new("RGB", (16, 16), (200, 30, 40)), "PNG")
    expected = [218, 0, 27]
    for chunks in (
        gamma(45_455) + primaries(*P3_POINTS),
        chunk(b"cICP", bytes([12, 13, 0, 1])),
        chunk(b"cICP", bytes([12, 13, 0, 1])) + profile_chunk(SWAP),
    ):
        shown = on_white(with_chunk(image, chunks))[8, 8]
        assert shown.tolist() == pytest.approx(expected, abs=9)


@pytest.mark.parametrize(
    "chunks",
    [
        gamma(45_455),
        gamma(45_455) + primaries(*SRGB_POINTS),
        primaries(*P3_POINTS),
        chunk(b"sRGB", b"\0") + gamma(100_000) + primaries(*P3_POINTS),
        profile_chunk(srgb_profile()) + gamma(100_000),
        chunk(b"cICP", bytes([1, 13, 0, 1])) + gamma(100_000),
        gamma(0),
    ],
    ids=["gamma", "gamma and primaries", "primaries", "sRGB", "profile", "cICP", "no gamma"],
)
def test_srgb_in_other_words_changes_nothing(chunks: bytes) -> None:
    """To the bit, as do chunks that browsers ignore."""
    assert np.array_equal(on_white(with_chunk(PHOTO_PNG, chunks)), pixels(PHOTO_PNG))


@pytest.mark.parametrize(
    "chunks",
    [
        chunk(b"cICP", bytes([9, 16, 0, 1])),
        chunk(b"cICP", bytes([1, 13, 1, 1])),
        gamma(1),
        gamma(100_000) + primaries(*(0,) * 8),
    ],
    ids=["HDR", "YCbCr", "gamma", "primaries"],
)
def test_colors_that_cannot_be_converted_are_named(chunks: bytes) -> None:
    """The image is shown as sRGB, with a warning."""
    image = decoded(with_chunk(PHOTO_PNG, chunks))
    assert [warning.code for warning in image.info.warnings] == [WarningCode.COLOR_PROFILE]
    assert np.array_equal(np.asarray(image.frames[0].image), pixels(PHOTO_PNG))


def test_first_of_two_profiles_counts() -> None:
    """As in browsers; the second is damaged metadata."""
    stored = encoded(swapped(PHOTO), "PNG")
    image = decoded(with_chunk(stored, profile_chunk(SWAP) + profile_chunk(srgb_profile())))
    assert [warning.code for warning in image.info.warnings] == [WarningCode.METADATA]
    shown = np.asarray(image.frames[0].image).astype(int)
    assert np.abs(shown - np.asarray(PHOTO)).max() <= 1
