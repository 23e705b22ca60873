"""Small files with flaws, and helpers to make them."""

import io
import struct
import zlib
from collections.abc import Iterable

import numpy as np
from PIL import Image

from tests.support.image_files import PNG_SIGNATURE, encoded, png, sample_photo, srgb_profile

HEADER_END = len(PNG_SIGNATURE) + 25  # a PNG's first chunk
ADAM7 = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
SWAPPED = {b"rXYZ": b"bXYZ", b"bXYZ": b"rXYZ"}
# Primaries of Display P3 adapted to D50, as Apple's profile has them.
DISPLAY_P3 = {
    b"rXYZ": (0.515102, 0.241182, -0.001050),
    b"gXYZ": (0.291965, 0.692236, 0.041882),
    b"bXYZ": (0.157153, 0.066581, 0.784073),
}


def chunk(kind: bytes, body: bytes, *, checksum: int | None = None) -> bytes:
    """A PNG chunk; its checksum is right unless another is given."""
    found = zlib.crc32(kind + body) if checksum is None else checksum
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", found)


def with_chunk(data: bytes, added: bytes, *, last: bool = False) -> bytes:
    """A PNG with a chunk after its header, or before its end."""
    at = len(data) - 12 if last else HEADER_END
    return data[:at] + added + data[at:]


def interlaced_png(image: Image.Image) -> bytes:
    """An RGB image as an Adam7 PNG, which Pillow does not write."""
    pixels = np.asarray(image)
    rows = b"".join(
        b"\0" + row.tobytes()
        for left, top, across, down in ADAM7
        for row in pixels[top::down, left::across]
        if row.size
    )
    data = bytearray(png(image.size, depth=8, color=2, chunks=[(b"IDAT", zlib.compress(rows))]))
    data[HEADER_END - 5] = 1
    header = bytes(data[len(PNG_SIGNATURE) + 4 : HEADER_END - 4])
    data[HEADER_END - 4 : HEADER_END] = struct.pack(">I", zlib.crc32(header))
    return bytes(data)


def tiff_gray(
    values: np.ndarray, *, bits: int, white_is_zero: bool = False, sample_format: int = 1
) -> bytes:
    """A TIFF of one gray channel, uncompressed, in the byte order of the values."""
    big = values.dtype.byteorder == ">"
    order = ">" if big else "<"
    height, width = values.shape
    data = _packed(values, bits) if bits % 8 else values.tobytes()
    tags = {
        256: width,
        257: height,
        258: bits,
        259: 1,
        262: 0 if white_is_zero else 1,
        273: 0,
        277: 1,
        278: height,
        279: len(data),
        339: sample_format,
    }
    start = 8 + 2 + 12 * len(tags) + 4
    entries = b"".join(
        struct.pack(f"{order}HHII", tag, 4, 1, start if tag == 273 else value)
        for tag, value in tags.items()
    )
    head = struct.pack(f"{order}2sHIH", b"MM" if big else b"II", 42, 8, len(tags))
    return head + entries + bytes(4) + data


def _packed(values: np.ndarray, bits: int) -> bytes:
    planes = (values[..., None].astype(np.int64) >> np.arange(bits)[::-1]) & 1
    return np.packbits(planes.astype(np.uint8).reshape(len(values), -1), axis=1).tobytes()


def profile_with(*, names: dict[bytes, bytes] | None = None, primaries: object = None) -> bytes:
    """The sRGB profile with other tag names, or with other primaries."""
    profile = bytearray(srgb_profile())
    (count,) = struct.unpack_from(">I", profile, 128)
    for at in range(132, 132 + 12 * count, 12):
        name, start, _ = struct.unpack_from(">4sII", profile, at)
        if names and name in names:
            profile[at : at + 4] = names[name]
        if isinstance(primaries, dict) and name in primaries:
            numbers = [round(value * 65_536) for value in primaries[name]]
            struct.pack_into(">3i", profile, start + 8, *numbers)
    return bytes(profile)


def gray_profile(gamma: float) -> bytes:
    """An ICC profile of one gray channel with a power law."""
    curve = b"curv" + bytes(4) + struct.pack(">IHH", 1, round(gamma * 256), 0)
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D)
    text = b"desc" + bytes(4) + struct.pack(">I", 5) + b"gray\0" + bytes(79)
    text += bytes(-len(text) % 4)
    return _profile(b"mntr", b"GRAY", {b"desc": text, b"wtpt": white, b"kTRC": curve})


def cmyk_profile() -> bytes:
    """An ICC profile that converts CMYK to the Lab colors of a simple printer."""
    grid = (0.0, 1.0)
    table = []
    for cyan in grid:
        for magenta in grid:
            for yellow in grid:
                for black in grid:
                    light = 100 * (1 - black) * (1 - 0.3 * cyan - 0.4 * magenta - 0.1 * yellow)
                    a = 60 * (magenta - cyan) * (1 - black)
                    b = 60 * (yellow - (cyan + magenta) / 2) * (1 - black)
                    table += [max(0, light) * 2.55, a + 128, b + 128]
    identity = bytes(range(256))
    matrix = struct.pack(">9i", *(65_536 if i % 4 == 0 else 0 for i in range(9)))
    lut = b"mft1" + bytes(4) + bytes([4, 3, len(grid), 0]) + matrix
    lut += identity * 4 + bytes(min(255, round(v)) for v in table) + identity * 3
    lut += bytes(-len(lut) % 4)
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D)
    return _profile(b"prtr", b"CMYK", {b"A2B0": lut, b"wtpt": white}, connection=b"Lab ")


def _profile(
    kind: bytes, space: bytes, tags: dict[bytes, bytes], *, connection: bytes = b"XYZ "
) -> bytes:
    start = 128 + 4 + 12 * len(tags)
    index, body = b"", b""
    for name, data in tags.items():
        index += struct.pack(">4sII", name, start + len(body), len(data))
        body += data
    header = bytearray(128)
    struct.pack_into(">I", header, 0, start + len(body))
    struct.pack_into(">4s4s4s4s", header, 8, b"\x02\x10\0\0", kind, space, connection)
    struct.pack_into(">6H", header, 24, 2026, 1, 1, 0, 0, 0)
    header[36:40] = b"acsp"
    struct.pack_into(">3i", header, 68, 0xF6D6, 0x10000, 0xD32D)
    return bytes(header) + struct.pack(">I", len(tags)) + index + body


def differs_on_black(seen_on_white: Image.Image, seen_on_black: Image.Image) -> Image.Image:
    """An image, mode LA, that shows one gray image on white and another on black."""
    white = 128 + np.asarray(seen_on_white.convert("L"), dtype=float) / 2
    black = np.asarray(seen_on_black.convert("L"), dtype=float) * 0.45
    opacity = (255 - white + black).clip(1, 255)
    gray = (255 * black / opacity).clip(0, 255)
    bands = [Image.fromarray(band.astype(np.uint8)) for band in (gray, opacity)]
    return Image.merge("LA", bands)


def without_end(data: bytes) -> bytes:
    """A JPEG without its end marker."""
    assert data.endswith(b"\xff\xd9")
    return data[:-2]


def frames_of(image: Image.Image, count: int = 5) -> list[Image.Image]:
    """Rotated copies of an image, all of them different."""
    return [image.rotate(15 * turn, fillcolor="black") for turn in range(count)]


def pixels(data: bytes) -> np.ndarray:
    """A sound file decoded by Pillow, RGB."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def joined(parts: Iterable[bytes]) -> bytes:
    """The parts as one."""
    return b"".join(parts)


PHOTO = sample_photo((128, 96))
PHOTO_PNG = encoded(PHOTO, "PNG")
