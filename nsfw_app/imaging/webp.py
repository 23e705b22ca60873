"""WebP plugin for Pillow with less peak memory; completes truncated files for libwebp.

Pillow has no incremental WebP decoder: libwebp rejects a file that lacks its last byte. With bytes
added at the end it is decoded, and the rows that do not depend on these bytes are the file's own.
"""

import io
import struct
from collections.abc import Iterator
from typing import Any

from PIL import Image, ImageFile, WebPImagePlugin

HEADER_BYTES = 12  # RIFF, size, WEBP
FRAME = b"ANMF"
# Bytes after the end of lossless data lead to an error if they copy pixels from outside of the
# image. Of several, at least two decode.
FILLINGS = (0x1F, 0x27, 0x00, 0xAA, 0x55, 0xFF, 0x29, 0x94)
SPARE = 4  # times as many bytes as are missing: other data may need more for the same pixels
MIN_SPARE_BYTES = 1024
ANIMATED = 0x02  # flag of the extended header
IMAGES = frozenset({b"VP8 ", b"VP8L", FRAME})


class _WebPImageFile(WebPImagePlugin.WebPImageFile):
    """A WebP file; libwebp's canvases are freed before Pillow copies the pixels of a still one."""

    def load(self) -> Any:
        """Load the frame."""
        if self.n_frames > 1:
            return super().load()
        if self._decoder is not None:
            pixels = self._get_next()[0]
            self._decoder = None
            self.fp = io.BytesIO(pixels)
            self.tile = [ImageFile._Tile("raw", (0, 0, *self.size), 0, self.rawmode)]
        return ImageFile.ImageFile.load(self)


def register() -> None:
    """Register the plugin with Pillow."""
    Image.register_open("WEBP", _WebPImageFile, WebPImagePlugin._accept)


def is_animation(data: bytes) -> bool:
    """Whether a file is a WebP animation, even if only one of its frames is there."""
    return data[8:16] == b"WEBPVP8X" and bool(data[20:21]) and bool(data[20] & ANIMATED)


def damage_variants(data: bytes, *, max_bytes: int) -> Iterator[bytes]:
    """The file continued with different bytes; nothing if it is not truncated.

    Args:
        data: A file that begins with WebP's signature.
        max_bytes: The largest file that is accepted.
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
        length = min(max_bytes, end + SPARE * (end - len(data)) + MIN_SPARE_BYTES) & ~1
        head = data[:4] + struct.pack("<I", length - 8) + data[8 : at + 4]
        head += struct.pack("<I", length - at - 8)
        there = memoryview(data)[at + 8 :]
        for filling in FILLINGS:
            yield b"".join((head, there, bytes([filling]) * (length - len(data))))
    elif has_image:  # cut within metadata, or within a later frame of an animation
        for _ in range(2):
            yield _sized(data[:at])


def _sized(data: bytes) -> bytes:
    """The file with its length in the header."""
    return data[:4] + struct.pack("<I", len(data) - 8) + data[8:]
