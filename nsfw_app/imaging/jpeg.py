"""The segments of a JPEG file: to leave out damaged metadata, and to find where pixels end."""

import re
import struct
from collections.abc import Iterator

from PIL import Image

from nsfw_app.imaging import exif
from nsfw_app.imaging.source import Source
from nsfw_app.records import WarningCode

SIGNATURE = b"\xff\xd8\xff"
END = b"\xff\xd9"
START_OF_SCAN = 0xDA
WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})  # TEM, restarts, start of image
METADATA = frozenset({*range(0xE0, 0xF0), 0xFE})  # application segments and comments
# What says how colors are meant, by marker: how such a segment begins, and its least length.
COLOR = {0xE0: (b"JFIF\0", 14), 0xE2: (b"ICC_PROFILE\0", 14), 0xEE: (b"Adobe", 12)}
MARKER = re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])")  # within a scan: no stuffed byte, no restart
GRAY = range(127, 130)  # what libjpeg makes of blocks that are missing, inverted or not
# Bits that no encoder writes after the last block: blocks decoded from them are not gray.
NOISE = b"\x55" * 64


def without_metadata(data: bytes) -> Source:
    """The file without application segments, but for those that say how colors are meant.

    Args:
        data: A file whose segments Pillow cannot read.

    Returns:
        EXIF apart from the bytes; its warning is that metadata was left out.
    """
    kept, found = [data[:2]], b""
    rest = 2
    for marker, start, end in _segments(data):
        body = data[start + 4 : end]
        beginning, least = COLOR.get(marker, (b"", len(body) + 1))
        if marker not in METADATA or (body.startswith(beginning) and len(body) >= least):
            kept.append(data[start:end])
        elif marker == 0xE1 and body.startswith(exif.PREFIX):
            found += body.removeprefix(exif.PREFIX)
        rest = end
    kept.append(data[rest:])
    return Source(b"".join(kept), found, warnings=frozenset({WarningCode.METADATA}))


def damage_variants(data: bytes) -> tuple[bytes, bytes]:
    """The file up to its end marker, twice: closed there, and with noise before the new end.

    A decoder makes the same of both if and only if all pixels are there.
    """
    body = data[: _end(data)]
    return body + END, body + NOISE + END


def has_end(data: bytes) -> bool:
    """Whether there is an end marker."""
    return _end(data) < len(data)


def ends_in_gray(image: Image.Image) -> bool:
    """Whether the last row of a loaded JPEG is what libjpeg makes of missing blocks."""
    bottom = image.crop((0, image.height - 1, *image.size)).getextrema()
    bands = bottom if isinstance(bottom[0], tuple) else (bottom,)
    return all(low in GRAY and high in GRAY for low, high in bands)


def _end(data: bytes) -> int:
    """Where the end marker of the first image is, or where the file ends."""
    at = 2
    for marker, _, end in _segments(data):
        at = end
        if marker == START_OF_SCAN:
            break
    while match := MARKER.search(data, at):
        if match[1] == END[1:]:
            return match.start()
        at = match.end()
        if at + 2 <= len(data):
            at += max(2, struct.unpack_from(">H", data, at)[0])
    return len(data)


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of each segment, the first start of scan last."""
    at = 2
    while (at := data.find(b"\xff", at)) >= 0 and at + 4 <= len(data):
        marker = data[at + 1]
        if marker in {0x00, 0xFF} or marker in WITHOUT_LENGTH:
            at += 1
            continue
        end = at + 2 + struct.unpack_from(">H", data, at + 2)[0]
        if end > len(data):
            return
        yield marker, at, end
        if marker == START_OF_SCAN:
            return
        at = end
