"""Damaged, oversized and hostile metadata is dropped with a warning; the pixels stay."""

import os
import struct
import time
import tracemalloc
import zlib
from collections.abc import Callable
from contextlib import suppress

import numpy as np
import pytest
from PIL import ExifTags, Image, PngImagePlugin

from nsfw_app.errors import ImageError, ImageErrorKind
from nsfw_app.imaging.decode import DecodedImage, decode
from nsfw_app.imaging.exif import orientation
from nsfw_app.records import WarningCode
from tests.support.fakes import LIMITS
from tests.support.flawed_files import PHOTO, PHOTO_PNG, chunk, joined, pixels, with_chunk
from tests.support.image_files import camera_exif, encoded

NO_TIFF = b"b'Exif\\x00\\x00MM'"  # as some programs write it
LARGE_TEXT = os.urandom(900_000).hex().encode()
PROFILE_BOMB = zlib.compress(bytes(80_000_000))
TEXT_BOMB = zlib.compress(bytes(64_000_000))

FLAWED_PNG = {
    "exif that is no TIFF": with_chunk(PHOTO_PNG, chunk(b"eXIf", NO_TIFF)),
    "exif of zeros": with_chunk(PHOTO_PNG, chunk(b"eXIf", bytes(20))),
    "exif cut short": with_chunk(PHOTO_PNG, chunk(b"eXIf", camera_exif(6).tobytes()[6:20])),
    "exif after the pixels": with_chunk(PHOTO_PNG, chunk(b"eXIf", NO_TIFF), last=True),
    "resolution with a wrong checksum": with_chunk(
        PHOTO_PNG, chunk(b"pHYs", struct.pack(">IIB", 2835, 2835, 1), checksum=1)
    ),
    "text with a wrong checksum": with_chunk(PHOTO_PNG, chunk(b"tEXt", b"a\0b", checksum=1)),
    "wrong checksum after the pixels": with_chunk(
        PHOTO_PNG, chunk(b"tIME", bytes(7), checksum=1), last=True
    ),
    "large compressed text": with_chunk(
        PHOTO_PNG, chunk(b"zTXt", b"workflow\0\0" + zlib.compress(LARGE_TEXT))
    ),
    "large international text": with_chunk(
        PHOTO_PNG, chunk(b"iTXt", b"prompt\0\1\0\0\0" + zlib.compress(LARGE_TEXT)), last=True
    ),
    "large plain text": with_chunk(PHOTO_PNG, chunk(b"tEXt", b"parameters\0" + LARGE_TEXT)),
    "bomb of text": with_chunk(PHOTO_PNG, chunk(b"zTXt", b"a\0\0" + TEXT_BOMB)),
    "many bombs of text": with_chunk(PHOTO_PNG, 40 * chunk(b"zTXt", b"a\0\0" + TEXT_BOMB)),
    "bomb of a profile": with_chunk(PHOTO_PNG, chunk(b"iCCP", b"a\0\0" + PROFILE_BOMB)),
    "profile with a wrong checksum": with_chunk(PHOTO_PNG, chunk(b"iCCP", b"a\0\0", checksum=1)),
}


def decoded(data: bytes) -> DecodedImage:
    """The decoded file, under a name without extension."""
    return decode(data, name="image", limits=LIMITS)


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
    assert np.array_equal(np.asarray(image.frames[0].image), pixels(PHOTO_PNG))


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
        plain = encoded(PHOTO, "AVIF", **options)
    else:
        prefix = b"Exif\0\0" if image_format == "JPEG" else b""
        flawed = encoded(PHOTO, image_format, exif=prefix + exif, **options)
        plain = encoded(PHOTO, image_format, **options)
    image = decoded(flawed)
    assert codes(image) == [WarningCode.METADATA]
    assert np.array_equal(np.asarray(image.frames[0].image), without_warning(plain))


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
def test_jpeg_with_a_broken_segment_is_decoded(segment: bytes) -> None:
    """An application segment that ends in its middle does not keep the pixels from being read."""
    plain = encoded(PHOTO, "JPEG", exif=camera_exif(3))
    assert plain[:4] == b"\xff\xd8\xff\xe0"
    flawed = plain[:2] + segment + plain[2:]
    image = decoded(flawed)
    assert set(codes(image)) <= {WarningCode.METADATA}
    assert np.array_equal(np.asarray(image.frames[0].image), without_warning(plain))


def test_transparency_with_a_wrong_checksum_is_dropped() -> None:
    """It is dropped as in libpng: the image is opaque, as in browsers."""
    flawed = with_chunk(PHOTO_PNG, chunk(b"tRNS", bytes(6), checksum=1))
    image = decoded(flawed)
    assert codes(image) == [WarningCode.METADATA]
    assert np.array_equal(np.asarray(image.frames[0].image), pixels(PHOTO_PNG))


def test_frames_with_a_wrong_checksum_are_decoded() -> None:
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
    flawed = with_chunk(PHOTO_PNG, chunk(b"eXIf", exif), last=True)
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
    """Text, resolution, time and private chunks of usual size are dropped without a warning."""
    data = PHOTO_PNG
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
    assert np.array_equal(without_warning(data), pixels(PHOTO_PNG))


PHOTO_GIF = encoded(PHOTO.quantize(32), "GIF")
PHOTO_JPEG = encoded(PHOTO, "JPEG")
PHOTO_TIFF = encoded(PHOTO, "TIFF")
GIF_START = 13 + 3 * 32  # after the palette
APPLICATION_DATA = b"!\xff\x0bNETSCAPE2.0" + 90 * (b"\x20" + 32 * b"x") + b"\0"
COMMENT = b"\xff\xfe\0\x0fby hand      "


def many(plain: bytes, at: int, part: bytes, size_bytes: int) -> bytes:
    """A file with `size_bytes` of the same part in it."""
    return plain[:at] + part * (size_bytes // len(part)) + plain[at:]


# Files of any size that took quadratic time, or memory for each of millions of parts.
OVERSIZED: dict[str, tuple[bytes, Callable[[int], bytes]]] = {
    "gif: a long comment": (
        PHOTO_GIF,
        lambda size: many(
            PHOTO_GIF[:GIF_START] + b"!\xfe" + b"\0" + PHOTO_GIF[GIF_START:],
            GIF_START + 2,
            b"\xff" + b"c" * 255,
            size,
        ),
    ),
    "gif: application data": (
        PHOTO_GIF,
        lambda size: many(PHOTO_GIF, GIF_START, APPLICATION_DATA, size),
    ),
    "gif: bytes between blocks": (PHOTO_GIF, lambda size: many(PHOTO_GIF, GIF_START, b"\0", size)),
    "jpeg: segments of EXIF": (
        PHOTO_JPEG,
        lambda size: many(PHOTO_JPEG, 2, b"\xff\xe1\0\x0aExif\0\0ab", size),
    ),
    "jpeg: large segments of EXIF": (
        PHOTO_JPEG,
        lambda size: many(PHOTO_JPEG, 2, b"\xff\xe1\xff\xffExif\0\0" + bytes(65_527), size),
    ),
    "jpeg: comments": (
        PHOTO_JPEG,
        lambda size: many(PHOTO_JPEG, 2, COMMENT, size),
    ),
    "jpeg: bytes between segments": (PHOTO_JPEG, lambda size: many(PHOTO_JPEG, 2, b"\xff\0", size)),
    "png: empty image data": (
        PHOTO_PNG,
        lambda size: many(PHOTO_PNG, 33, chunk(b"IDAT", b""), size),
    ),
    "png: empty texts": (PHOTO_PNG, lambda size: many(PHOTO_PNG, 33, chunk(b"tEXt", b""), size)),
}


def cpu_s(data: bytes) -> float:
    """The least CPU time of three decodings."""
    times = []
    for _ in range(3):
        before = time.process_time()
        decoded(data)
        times.append(time.process_time() - before)
    return min(times)


@pytest.mark.parametrize("kind", OVERSIZED)
def test_oversized_metadata_takes_linear_time(kind: str) -> None:
    """Four times as much takes less than eight times as long; the pixels stay, with a warning."""
    plain, made = OVERSIZED[kind]
    data = made(1_200_000)
    image = decoded(data)
    assert codes(image) == [WarningCode.METADATA]
    assert np.array_equal(np.asarray(image.frames[0].image), without_warning(plain))
    assert cpu_s(made(4_800_000)) < 8 * cpu_s(data) + 0.05


@pytest.mark.parametrize("kind", OVERSIZED)
def test_oversized_metadata_takes_little_memory(kind: str) -> None:
    """No object is kept for each of the parts: memory stays below two more copies of the file."""
    data = OVERSIZED[kind][1](2_400_000)
    tracemalloc.start()
    try:
        decoded(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * len(data) + 3_000_000


def tiff_with(entries: list[tuple[int, int, int, int]], *, directories: int = 1) -> bytes:
    """A TIFF with more tags: number, type, count, and value or offset."""
    order = "<"
    (start,) = struct.unpack_from("<L", PHOTO_TIFF, 4)
    (count,) = struct.unpack_from("<H", PHOTO_TIFF, start)
    tags = PHOTO_TIFF[start + 2 : start + 2 + 12 * count]
    added = b"".join(struct.pack(f"{order}HHLL", *entry) for entry in entries)
    data = PHOTO_TIFF
    result = data[:4] + struct.pack("<L", len(data)) + data[8:]
    for number in range(directories):
        size = 2 + len(tags) + len(added) + 4
        after = 0 if number == directories - 1 else len(data) + (number + 1) * size
        result += struct.pack("<H", count + len(entries)) + tags + added + struct.pack("<L", after)
    return result


REFUSED = {
    "png: chunks of a byte": many(PHOTO_PNG, 33, chunk(b"tEXt", b"a"), 2_000_000),
    "gif: parts of a byte": many(
        PHOTO_GIF[:GIF_START] + b"!\xfe\0" + PHOTO_GIF[GIF_START:],
        GIF_START + 2,
        b"\x01a",
        3_000_000,
    ),
    "gif: blocks": many(PHOTO_GIF, GIF_START, b"!\xfe\0", 400_000),
    "jpeg: segments": many(PHOTO_JPEG, 2, b"\xff\xfe\0\x02", 3_000_000),
    "jpeg: frame headers": many(PHOTO_JPEG, 2, b"\xff\xc0\0\x0b\x08\0\x10\0\x10\1\1\x11\0", 100),
    "jpeg: tables": many(PHOTO_JPEG, 2, b"\xff\xdd\0\4\0\0", 100_000),
    "tiff: tags that share a value": tiff_with([(40_000 + n, 7, 30_000, 8) for n in range(100)]),
    "tiff: directories": tiff_with([], directories=10_001),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_more_parts_than_any_image_has_are_refused(kind: str) -> None:
    """Where each part costs time or memory, their number has a limit, which the message names."""
    with pytest.raises(ImageError, match="cannot be decoded: it has") as caught:
        decoded(REFUSED[kind])
    assert caught.value.kind == ImageErrorKind.CORRUPT


def test_scans_are_limited() -> None:
    """Each scan of a progressive JPEG processes all pixels, even if it has few bytes."""
    data = encoded(PHOTO, "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    assert decoded(data[:-2] + 50 * last + data[-2:]).frames
    with pytest.raises(ImageError, match="more than 100 scans"):
        decoded(data[:-2] + 100 * last + data[-2:])


def test_entries_of_exif_may_not_multiply_memory() -> None:
    """A directory whose entries share one large value is not expanded."""
    value = bytes(30_000)
    count = 2_500
    entries = joined(
        struct.pack(">HHII", 0x8000 + n, 7, len(value), 10 + 12 * count) for n in range(count)
    )
    body = b"Exif\0\0MM\0*" + struct.pack(">IH", 8, count) + entries + value
    segment = b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body
    data = PHOTO_JPEG[:2] + segment + PHOTO_JPEG[20:]  # without the resolution in its JFIF segment
    tracemalloc.start()
    try:
        decoded(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5_000_000


def test_exif_counts_once() -> None:
    """Of two EXIF chunks or segments the first counts, as in browsers."""
    first, second = (camera_exif(n).tobytes().removeprefix(b"Exif\0\0") for n in (6, 3))
    png = with_chunk(PHOTO_PNG, chunk(b"eXIf", first) + chunk(b"eXIf", second))
    segments = joined(
        b"\xff\xe1" + struct.pack(">H", len(e) + 8) + b"Exif\0\0" + e for e in (first, second)
    )
    jpeg = PHOTO_JPEG[:2] + segments + PHOTO_JPEG[2:]
    for data, plain in ((png, PHOTO_PNG), (jpeg, PHOTO_JPEG)):
        shown = without_warning(data)
        assert np.array_equal(shown, np.rot90(without_warning(plain), -1))


def test_wrong_checksum_of_the_pixels_is_tolerated() -> None:
    """Where all rows are there, a wrong Adler-32 is no more than damaged metadata."""
    start = PHOTO_PNG.index(b"IDAT") - 4
    length = int.from_bytes(PHOTO_PNG[start : start + 4])
    body = PHOTO_PNG[start + 8 : start + 8 + length - 4] + b"abcd"
    for size in (len(body), 1000):
        chunks = [chunk(b"IDAT", body[at : at + size]) for at in range(0, len(body), size)]
        image = decoded(PHOTO_PNG[:start] + joined(chunks) + PHOTO_PNG[start + 12 + length :])
        assert (codes(image), image.info.incomplete) == ([WarningCode.METADATA], False)
        assert np.array_equal(np.asarray(image.frames[0].image), pixels(PHOTO_PNG))


@pytest.mark.parametrize(
    ("tag", "code"),
    [
        ((34_675, 7, 3000, 99_999_999), WarningCode.COLOR_PROFILE),
        ((34_665, 4, 1, 99_999_999), WarningCode.METADATA),
        ((315, 2, 500, 99_999_999), WarningCode.METADATA),
    ],
    ids=["profile", "exif", "artist"],
)
def test_metadata_beyond_the_end_of_a_tiff_is_ignored(
    tag: tuple[int, int, int, int], code: WarningCode
) -> None:
    """A tag whose value is not in the file is named in a warning."""
    image = decoded(tiff_with([tag]))
    assert codes(image) == [code]
    assert np.array_equal(np.asarray(image.frames[0].image), pixels(PHOTO_TIFF))


def test_libtiff_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """A TIFF cut short leaves no lines of unknown origin in the log."""
    data = bytearray(encoded(PHOTO, "TIFF", compression="tiff_adobe_deflate"))
    data[200:260] = bytes(60)
    with suppress(ImageError):
        decoded(bytes(data))
    assert capfd.readouterr().err == ""
