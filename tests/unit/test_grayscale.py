"""Deep, signed and floating-point grays look like the same image in 8-bit grays."""

import io

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from nsfw_app.errors import ImageError, ImageErrorKind
from nsfw_app.imaging.decode import decode
from nsfw_app.imaging.tiff import PACKED_BITS
from tests.support.fakes import LIMITS
from tests.support.flawed_files import tiff_gray
from tests.support.image_files import encoded, sample_photo

EXPECTED = np.asarray(ImageOps.autocontrast(sample_photo((61, 47)).convert("L")))  # black to white
FULL = EXPECTED.astype(np.int64)
FULL.setflags(write=False)


def shown(data: bytes) -> np.ndarray:
    """The gray levels of the only frame."""
    image = decode(data, name="image", limits=LIMITS)
    assert image.info.warnings == ()
    (frame,) = image.frames
    return np.asarray(frame.image)[..., 0]


def scaled(values: np.ndarray, top: int) -> np.ndarray:
    """8-bit grays in another range."""
    return values * top // 255


UNSIGNED, SIGNED, FLOAT = 1, 2, 3
# Kind: values of a black-is-zero file and what white is, its type, bits and sample format.
KINDS = {
    "8 bits": (FULL, 255, "u1", 8, UNSIGNED),
    "10 bits": (scaled(FULL, 1023), 1023, "u2", 10, UNSIGNED),
    "12 bits": (scaled(FULL, 4095), 4095, "u2", 12, UNSIGNED),
    "14 bits": (scaled(FULL, 16383), 16383, "u2", 14, UNSIGNED),
    "16 bits": (FULL * 257, 65_535, "u2", 16, UNSIGNED),
    "32 bits": (FULL * 16_843_009, 2**32 - 1, "u4", 32, UNSIGNED),
    "16 bits signed, none negative": (scaled(FULL, 32_767), 32_767, "i2", 16, SIGNED),
    "32-bit floats to 1": (FULL / 255, 1, "f4", 32, FLOAT),
    "32-bit floats to 255": (FULL, 255, "f4", 32, FLOAT),
    "16-bit floats": (FULL / 255, 1, "f2", 16, FLOAT),
    "64-bit floats": (FULL / 255, 1, "f8", 64, FLOAT),
}
SIGNED_KINDS = {
    "8 bits signed": (FULL - 128, "i1", 8),
    "16 bits signed": (FULL * 257 - 32_768, "i2", 16),
}


@pytest.mark.parametrize("white_is_zero", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", KINDS)
def test_deep_gray_looks_like_its_twin(kind: str, order: str, white_is_zero: bool) -> None:
    """Of every depth, in either byte order and with either end being white."""
    values, white, dtype, bits, sample_format = KINDS[kind]
    stored = white - values if white_is_zero else values
    data = tiff_gray(
        stored.astype(order + dtype),
        bits=bits,
        white_is_zero=white_is_zero,
        sample_format=sample_format,
    )
    assert np.abs(shown(data).astype(int) - EXPECTED).max() <= 1


@pytest.mark.parametrize("white_is_zero", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", SIGNED_KINDS)
def test_signed_gray_looks_like_its_twin(kind: str, order: str, white_is_zero: bool) -> None:
    """Negative values are darker than zero, not brighter than all others."""
    values, dtype, bits = SIGNED_KINDS[kind]
    stored = -1 - values if white_is_zero else values
    data = tiff_gray(
        stored.astype(order + dtype), bits=bits, white_is_zero=white_is_zero, sample_format=SIGNED
    )
    assert np.abs(shown(data).astype(int) - EXPECTED).max() <= 1


def test_signed_long_gray_uses_the_range_that_is_there() -> None:
    """32 signed bits have no usual range; the darkest value is black and the brightest white."""
    values = ((FULL - 128) * 1_000_000).astype("<i4")
    data = tiff_gray(values, bits=32, sample_format=SIGNED)
    low, high = EXPECTED.min(), EXPECTED.max()
    expected = (FULL - low) / (high - low) * 255
    assert np.abs(shown(data) - expected).max() <= 1


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate"])
@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I", "F"])
def test_compressed_deep_gray_looks_like_its_twin(mode: str, compression: str) -> None:
    """Samples that libtiff unpacked are read in the byte order it unpacks to."""
    kinds = {"I;16": np.uint16, "I;16B": ">u2", "I": np.int32, "F": np.float32}
    gray = Image.fromarray((FULL * (257 if mode.startswith("I;16") else 1)).astype(kinds[mode]))
    assert (
        np.abs(shown(encoded(gray, "TIFF", compression=compression)).astype(int) - EXPECTED).max()
        <= 1
    )


@pytest.mark.parametrize("kind", ["f2", "f4", "f8", "i4", "u4", "i2", "u2"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_compressed_samples_are_read_in_both_byte_orders(order: str, kind: str) -> None:
    """Samples come out of libtiff in the machine's order, not in that of the file."""
    factor = {"f2": 1, "f4": 1, "f8": 1, "i4": 1, "u4": 1, "i2": 128, "u2": 257}[kind]
    buffer = io.BytesIO()
    values = (FULL * factor).astype(order + kind)
    tifffile.imwrite(buffer, values, byteorder=order, compression="zlib", photometric="minisblack")
    assert np.abs(shown(buffer.getvalue()).astype(int) - EXPECTED).max() <= 1


def test_deep_gray_of_a_png_looks_like_its_twin() -> None:
    """And where one gray is transparent, it is white on white."""
    deep = Image.fromarray((FULL * 257).astype(np.uint16))
    assert np.abs(shown(encoded(deep, "PNG")).astype(int) - EXPECTED).max() == 0
    chosen = int(FULL[10, 10])
    frames = decode(
        encoded(deep, "PNG", transparency=chosen * 257), name="image", limits=LIMITS
    ).frames
    assert frames[0].image.getpixel((10, 10)) == (255, 255, 255)
    rest = np.asarray(frames[0].image)[..., 0][chosen != EXPECTED]
    assert np.array_equal(rest, EXPECTED[chosen != EXPECTED])


@pytest.mark.parametrize("bits", PACKED_BITS)
def test_packed_gray_that_is_cut_short_keeps_its_first_rows(bits: int) -> None:
    """Rows that are there are unpacked."""
    data = tiff_gray(scaled(FULL, 2**bits - 1).astype("<u2"), bits=bits)
    image = decode(data[: len(data) * 2 // 3], name="image", limits=LIMITS)
    part = np.asarray(image.frames[0].image)[..., 0].astype(int)
    assert image.info.incomplete
    assert 20 < len(part) < 47
    assert np.abs(part - EXPECTED[: len(part)]).max() <= 1


def test_packing_that_is_not_supported_is_refused() -> None:
    """Compressed packed samples are refused instead of being read wrongly."""
    data = bytearray(tiff_gray(scaled(FULL, 1023).astype("<u2"), bits=10))
    data[8 + 2 + 12 * 3 + 8] = 5  # compression: LZW
    with pytest.raises(ImageError):
        decode(bytes(data), name="image", limits=LIMITS)


@pytest.mark.parametrize(
    ("values", "options", "text"),
    [
        (np.dstack([FULL * 257] * 2).astype("u2"), {"extrasamples": ["unassalpha"]}, "2 channels"),
        (np.dstack([FULL / 255] * 3).astype("f4"), {"photometric": "rgb"}, "floating-point"),
    ],
    ids=["gray and alpha of 16 bits", "color of floats"],
)
def test_samples_that_cannot_be_read_are_unsupported(
    values: np.ndarray, options: dict[str, object], text: str
) -> None:
    """A sound file that no decoder reads is not called damaged."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, **{"photometric": "minisblack", **options})
    with pytest.raises(ImageError, match=text) as caught:
        decode(buffer.getvalue(), name="a.tif", limits=LIMITS)
    assert caught.value.kind == ImageErrorKind.UNSUPPORTED
