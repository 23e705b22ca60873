"""Damaged, oversized and hostile metadata is dropped with a warning; the pixels stay."""

import os
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import ExifTags, Image, PngImagePlugin

from nsfw_app.imaging.decode import DecodedImage, decode
from nsfw_app.imaging.exif import orientation
from nsfw_app.records import WarningCode
from tests.support.fakes import LIMITS
from tests.support.flawed_files import PHOTO, TWIN_PNG, chunk, joined, pixels, with_chunk
from tests.support.image_files import camera_exif, encoded

NO_TIFF = b"b'Exif\\x00\\x00MM'"  # as some programs write it
LARGE_TEXT = os.urandom(900_000).hex().encode()
PROFILE_BOMB = zlib.compress(bytes(80_000_000))
TEXT_BOMB = zlib.compress(bytes(64_000_000))

FLAWED_PNG = {
    "exif that is no TIFF": with_chunk(TWIN_PNG, chunk(b"eXIf", NO_TIFF)),
    "exif of zeros": with_chunk(TWIN_PNG, chunk(b"eXIf", bytes(20))),
    "exif cut short": with_chunk(TWIN_PNG, chunk(b"eXIf", camera_exif(6).tobytes()[6:20])),
    "exif after the pixels": with_chunk(TWIN_PNG, chunk(b"eXIf", NO_TIFF), last=True),
    "resolution with a wrong checksum": with_chunk(
        TWIN_PNG, chunk(b"pHYs", struct.pack(">IIB", 2835, 2835, 1), checksum=1)
    ),
    "text with a wrong checksum": with_chunk(TWIN_PNG, chunk(b"tEXt", b"a\0b", checksum=1)),
    "wrong checksum after the pixels": with_chunk(
        TWIN_PNG, chunk(b"tIME", bytes(7), checksum=1), last=True
    ),
    "large compressed text": with_chunk(
        TWIN_PNG, chunk(b"zTXt", b"workflow\0\0" + zlib.compress(LARGE_TEXT))
    ),
    "large international text": with_chunk(
        TWIN_PNG, chunk(b"iTXt", b"prompt\0\1\0\0\0" + zlib.compress(LARGE_TEXT)), last=True
    ),
    "large plain text": with_chunk(TWIN_PNG, chunk(b"tEXt", b"parameters\0" + LARGE_TEXT)),
    "bomb of text": with_chunk(TWIN_PNG, chunk(b"zTXt", b"a\0\0" + TEXT_BOMB)),
    "many bombs of text": with_chunk(TWIN_PNG, 40 * chunk(b"zTXt", b"a\0\0" + TEXT_BOMB)),
    "bomb of a profile": with_chunk(TWIN_PNG, chunk(b"iCCP", b"a\0\0" + PROFILE_BOMB)),
    "profile with a wrong checksum": with_chunk(TWIN_PNG, chunk(b"iCCP", b"a\0\0", checksum=1)),
}


def decoded(data: bytes) -> DecodedImage:
    """The file under a name that says nothing."""
    return decode(data, name="picture", limits=LIMITS)


def codes(image: DecodedImage) -> list[WarningCode]:
    """The codes of its warnings."""
    return [warning.code for warning in image.info.warnings]


def without_warning(data: bytes) -> np.ndarray:
    """The pixels of a file that is in order."""
    image = decoded(data)
    assert codes(image) == []
    return np.asarray(image.frames[0].image)


@pytest.mark.parametrize("flaw", FLAWED_PNG)
def test_flawed_png_looks_like_its_twin(flaw: str) -> None:
    """Pixels are those of the file without the flaw, and a warning says that there was one."""
    image = decoded(FLAWED_PNG[flaw])
    assert codes(image) == [WarningCode.METADATA]
    assert not image.info.incomplete
    assert np.array_equal(np.asarray(image.frames[0].image), pixels(TWIN_PNG))


@pytest.mark.parametrize("flaw", ["many bombs of text", "bomb of a profile"])
def test_memory_stays_bounded(flaw: str) -> None:
    """Nothing is expanded beyond a megabyte, however well it was compressed."""
    tracemalloc.start()
    try:
        decoded(FLAWED_PNG[flaw])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10_000_000


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "WEBP", "AVIF"])
@pytest.mark.parametrize(
    "exif", [NO_TIFF, bytes(30), b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff"]
)
def test_exif_that_cannot_be_read_is_ignored(image_format: str, exif: bytes) -> None:
    """EXIF without a readable TIFF directory warns and rotates nothing, in every format."""
    options = {"quality": 90} if image_format != "PNG" else {}
    if image_format == "AVIF":  # Pillow writes no EXIF that it cannot read
        sound = encoded(PHOTO, "AVIF", exif=camera_exif(1, "x" * 40).tobytes(), **options)
        start = sound.index(b"MM\0*")
        flawed = sound[:start] + exif.ljust(30, b"\0") + sound[start + max(30, len(exif)) :]
        twin = encoded(PHOTO, "AVIF", **options)
    else:
        prefix = b"Exif\0\0" if image_format == "JPEG" else b""
        flawed = encoded(PHOTO, image_format, exif=prefix + exif, **options)
        twin = encoded(PHOTO, image_format, **options)
    image = decoded(flawed)
    assert codes(image) == [WarningCode.METADATA]
    assert np.array_equal(np.asarray(image.frames[0].image), without_warning(twin))


@pytest.mark.parametrize(
    "segment",
    [
        b"\xff\xed" + struct.pack(">H", 24) + b"Photoshop 3.0\x008BIM\x04\x25\xff",
        b"\xff\xee" + struct.pack(">H", 8) + b"Adobe\0",
        b"\xff\xe0" + struct.pack(">H", 7) + b"JFIF\0",
        b"\xff\xe2" + struct.pack(">H", 20) + b"MPF\0II*\0\x08\0\0\0" + bytes(6),
    ],
    ids=["photoshop", "adobe", "jfif", "mpf"],
)
def test_jpeg_with_a_broken_segment_is_judged(segment: bytes) -> None:
    """An application segment that ends in its middle does not keep the pixels from being read."""
    twin = encoded(PHOTO, "JPEG", exif=camera_exif(3))
    assert twin[:4] == b"\xff\xd8\xff\xe0"
    flawed = twin[:2] + segment + twin[2:]
    image = decoded(flawed)
    assert set(codes(image)) <= {WarningCode.METADATA}
    assert np.array_equal(np.asarray(image.frames[0].image), without_warning(twin))


def test_transparency_with_a_wrong_checksum_is_dropped() -> None:
    """What libpng drops is dropped: the picture is opaque, as browsers show it."""
    flawed = with_chunk(TWIN_PNG, chunk(b"tRNS", bytes(6), checksum=1))
    image = decoded(flawed)
    assert codes(image) == [WarningCode.METADATA]
    assert np.array_equal(np.asarray(image.frames[0].image), pixels(TWIN_PNG))


def test_frames_with_a_wrong_checksum_are_judged() -> None:
    """A damaged checksum does not hide the frames of an animation."""
    frames = [Image.new("RGB", (24, 16), (level, 0, 0)) for level in (10, 200)]
    data = encoded(frames[0], "PNG", save_all=True, append_images=frames[1:])
    at = data.index(b"acTL") + 4 + 8
    image = decoded(data[:at] + b"\0\0\0\0" + data[at + 4 :])
    assert codes(image) == [WarningCode.METADATA]
    assert [frame.image.getpixel((1, 1))[0] for frame in image.frames] == [10, 200]


def test_orientation_is_that_of_exif_alone() -> None:
    """Orientations in XMP and in text chunks rotate nothing: browsers ignore them."""
    texts = PngImagePlugin.PngInfo()
    texts.add_itxt("XML:com.adobe.xmp", '<rdf tiff:Orientation="6"/>')
    raw = camera_exif(6).tobytes().hex()
    texts.add_text("Raw profile type exif", f"\nexif\n{len(raw) // 2}\n{raw}", zip=True)
    assert without_warning(encoded(PHOTO, "PNG", pnginfo=texts)).shape == (96, 128, 3)
    assert without_warning(encoded(PHOTO, "PNG", exif=camera_exif(6))).shape == (128, 96, 3)


def test_exif_after_the_pixels_rotates() -> None:
    """A PNG may have its EXIF anywhere."""
    exif = camera_exif(6).tobytes().removeprefix(b"Exif\0\0")
    flawed = with_chunk(TWIN_PNG, chunk(b"eXIf", exif), last=True)
    assert without_warning(flawed).shape == (128, 96, 3)


@pytest.mark.parametrize("order", ["<", ">"])
def test_orientation_is_read_in_both_byte_orders(order: str) -> None:
    """Short and long values, in either byte order; the last tag counts."""
    magic = b"II*\0" if order == "<" else b"MM\0*"
    short = struct.pack(f"{order}HHIHH", ExifTags.Base.Orientation, 3, 1, 6, 0)
    long = struct.pack(f"{order}HHII", ExifTags.Base.Orientation, 4, 1, 8)
    for entries, expected in ([short], 6), ([long], 8), ([long, short], 6), ([], 1):
        head = magic + struct.pack(f"{order}IH", 8, len(entries))
        assert orientation(head + joined(entries)) == expected


def test_chunks_that_are_in_order_warn_of_nothing() -> None:
    """Text, resolution, time and private chunks of usual size are dropped without a word."""
    data = TWIN_PNG
    for kind, body in [
        (b"tEXt", b"Comment\0by hand"),
        (b"zTXt", b"Comment\0\0" + zlib.compress(b"by hand")),
        (b"iTXt", b"Comment\0\0\0\0\0by hand"),
        (b"pHYs", struct.pack(">IIB", 2835, 2835, 1)),
        (b"gAMA", struct.pack(">I", 45_455)),
        (b"sRGB", b"\0"),
        (b"caBX", os.urandom(2_000_000)),
    ]:
        data = with_chunk(data, chunk(kind, body))
    assert np.array_equal(without_warning(data), pixels(TWIN_PNG))
