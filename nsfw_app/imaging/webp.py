"""WebP files that are cut short, made whole for libwebp.

Pillow has no incremental WebP decoder: libwebp refuses a file that lacks its last byte. Filled up
to the length that its chunks declare it is decoded, and the rows that do not depend on the filling
are the file's own.
"""

import struct
from collections.abc import Iterator

HEADER_BYTES = 12  # RIFF, size, WEBP
FRAME = b"ANMF"
FILLINGS = (0x00, 0xAA, 0x55, 0xFF)  # lossless data refuses some of them
IMAGES = frozenset({b"VP8 ", b"VP8L", FRAME})


def damage_variants(data: bytes, *, max_bytes: int) -> Iterator[bytes]:
    """The file filled up with one byte after the other; nothing where it is not cut short.

    Args:
        data: A file that begins with WebP's signature.
        max_bytes: Length of a file that is still accepted.
    """
    at = HEADER_BYTES
    has_image = False
    while at + 8 <= len(data):
        kind, size = struct.unpack_from("<4sI", data, at)
        end = at + 8 + size + size % 2
        if end > len(data):
            break
        has_image |= kind in IMAGES
        at = end
    declared = 8 + struct.unpack_from("<I", data, 4)[0] if len(data) >= HEADER_BYTES else 0
    if declared <= len(data):
        return
    if at + 8 <= len(data) and kind in IMAGES and kind != FRAME and end <= max_bytes:
        for filling in FILLINGS:
            yield _sized(data + bytes([filling]) * (end - len(data)))
    elif has_image:  # cut within metadata, or within a later frame of an animation
        yield _sized(data[:at])


def _sized(data: bytes) -> bytes:
    """The file with its length in the header."""
    return data[:4] + struct.pack("<I", len(data) - 8) + data[8:]
