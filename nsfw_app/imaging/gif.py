"""GIF blocks: comments and application data are removed before Pillow reads the file.

Pillow joins the parts of a comment in quadratic time, and reads every block in Python.
"""

import re

from nsfw_app.errors import TooManyParts
from nsfw_app.imaging.source import Source
from nsfw_app.records import WarningCode

SIGNATURES = (b"GIF87a", b"GIF89a")
HEADER_BYTES = 13  # with the logical screen descriptor
IMAGE_BYTES = 10  # image descriptor after its separator, and the code size after the palette
IMAGE, END = b",", b";"
GRAPHIC_CONTROL = b"!\xf9"  # the only extension that pixels depend on
# Bytes that Pillow skips, and the next image with its descriptor, extension, or end.
BLOCK = re.compile(rb"([^,;!]*+)(,(?=.{9})|!.|;)", re.DOTALL)
HAS_PALETTE = 0x80
FULL_PARTS = re.compile(rb"(?:\xff.{255})*+", re.DOTALL)

MAX_METADATA_BYTES = 1 << 20
MAX_BLOCKS = 100_000  # images and extensions
MAX_PARTS = 1_000_000  # of all blocks, 255 bytes each in files of usual encoders


def cleaned(data: bytes) -> Source:
    """The file with its images and what controls them, and nothing else.

    Args:
        data: A file that begins with one of `SIGNATURES`.

    Returns:
        The file; the warning is that metadata were oversized.

    Raises:
        TooManyParts: It has more than `MAX_BLOCKS` blocks or `MAX_PARTS` parts of blocks.
    """
    at = HEADER_BYTES + (_palette_bytes(data[10]) if len(data) > HEADER_BYTES else 0)
    kept: list[bytes] = []
    kept_to = dropped = parts = 0
    for _ in range(MAX_BLOCKS):
        block = BLOCK.match(data, at)
        if block is None or block[2] == END:
            break
        start, end = block.span(2)
        if block[2] == IMAGE:
            end += IMAGE_BYTES + _palette_bytes(data[end + IMAGE_BYTES - 2])
        end, count = _skip(data, end)
        parts += count
        if parts > MAX_PARTS:
            raise TooManyParts(f"more than {MAX_PARTS} parts of blocks")
        is_needed = block[2] == IMAGE or block[2] == GRAPHIC_CONTROL
        unused = (at, start if is_needed else end)
        if unused[1] > unused[0]:
            kept.append(data[kept_to : unused[0]])
            kept_to = unused[1]
            dropped += unused[1] - unused[0]
        at = end
    else:
        raise TooManyParts(f"more than {MAX_BLOCKS} blocks")
    is_oversized = dropped > MAX_METADATA_BYTES
    return Source(
        b"".join((*kept, data[kept_to:])) if kept else data,
        warnings=frozenset({WarningCode.METADATA} if is_oversized else ()),
    )


def _palette_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & HAS_PALETTE else 0


def _skip(data: bytes, at: int) -> tuple[int, int]:
    """Where the parts of a block end, and how many there are."""
    count = 0
    while at < len(data) and (length := data[at]):
        if length == 0xFF and (full := FULL_PARTS.match(data, at)) and full.end() > at:
            count += (full.end() - at) // 256
            at = full.end()
        else:
            at += length + 1
            count += 1
        if count > MAX_PARTS:
            break
    return at + 1, count
