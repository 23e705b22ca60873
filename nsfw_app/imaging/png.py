"""PNG without what pixels do not need: only chunks that shape the image reach the decoder.

- Text, times and private chunks are dropped, so none of them can break decoding or fill memory.
- A checksum that is wrong in an ancillary chunk drops the chunk, as libpng and browsers do.
- Compressed text and profiles are never expanded beyond `MAX_METADATA_BYTES`.
"""

import struct
import zlib

from nsfw_app.imaging.source import Source
from nsfw_app.records import WarningCode

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_METADATA_BYTES = 1 << 20  # of one chunk, expanded; Pillow's MAX_TEXT_CHUNK
MAX_EXPANDED_BYTES = 8 << 20  # of all compressed text that is checked
PIXELS = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND", b"fdAT"})
ANIMATION = frozenset({b"acTL", b"fcTL"})
TEXTS = frozenset({b"tEXt", b"zTXt", b"iTXt"})


def cleaned(data: bytes) -> Source:
    """The file with its pixels, palette, transparency and frames, and nothing else.

    Args:
        data: A file that begins with PNG's signature.

    Returns:
        EXIF and color profile apart from the bytes; `ends` is whether there was an end chunk.
    """
    return _Cleaner(data).run()


class _Cleaner:
    """Walks over the chunks of one file."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._view = memoryview(data)
        self._kept: list[bytes | memoryview] = [self._view[: len(SIGNATURE)]]
        self._warnings: set[WarningCode] = set()
        self._expanded_bytes = 0
        self._exif = b""
        self._profile = b""
        self._in_pixels = False

    def run(self) -> Source:
        ends = self._walk()
        return Source(
            b"".join(self._kept),
            self._exif,
            self._profile,
            frozenset(self._warnings),
            ends,
        )

    def _walk(self) -> bool:
        """Sort out every chunk; whether the last one was the end chunk."""
        at = len(SIGNATURE)
        while at + 8 <= len(self._data):
            length, kind = struct.unpack_from(">I4s", self._data, at)
            end = at + 12 + length
            if not kind.isalpha():
                return False
            if end > len(self._data):
                if kind in PIXELS:
                    self._kept.append(self._view[at:])
                return False
            self._sort(kind, self._view[at:end])
            if kind == b"IEND":
                return True
            at = end
        return False

    def _sort(self, kind: bytes, chunk: memoryview) -> None:
        if kind in PIXELS:
            self._in_pixels |= kind == b"IDAT"
            self._kept.append(chunk)
            return
        checksum = zlib.crc32(chunk[4:-4])
        sound = checksum == int.from_bytes(chunk[-4:])
        if not sound:
            self._warnings.add(WarningCode.METADATA)
        if kind in ANIMATION:  # browsers show the frames, so they are judged
            self._kept += [chunk[:-4], checksum.to_bytes(4)]
        elif sound and kind == b"tRNS":
            self._kept.append(chunk)
        elif sound and kind == b"eXIf":
            self._exif = bytes(chunk[8:-4])
        elif sound and kind == b"iCCP" and not self._in_pixels:
            self._read_profile(bytes(chunk[8:-4]))
        elif sound and kind in TEXTS:
            self._measure_text(kind, bytes(chunk[8:-4]))

    def _read_profile(self, body: bytes) -> None:
        _, _, rest = body.partition(b"\0")  # name, compression method, profile
        try:
            profile = _expanded(rest[1:])
        except zlib.error:
            self._warnings.add(WarningCode.COLOR_PROFILE)
            return
        if profile is None:
            self._warnings.add(WarningCode.METADATA)
        else:
            self._profile = profile

    def _measure_text(self, kind: bytes, body: bytes) -> None:
        """Warn of text that is larger than the limit."""
        text: bytes | None = body
        try:
            if kind == b"zTXt":
                text = self._expanded_text(body.partition(b"\0")[2][1:])
            elif kind == b"iTXt" and body.partition(b"\0")[2][:1] == b"\1":
                text = self._expanded_text(body.partition(b"\0")[2][2:].split(b"\0", 2)[-1])
        except zlib.error:
            text = None
        if text is None or len(text) > MAX_METADATA_BYTES:
            self._warnings.add(WarningCode.METADATA)

    def _expanded_text(self, compressed: bytes) -> bytes | None:
        if self._expanded_bytes > MAX_EXPANDED_BYTES:
            return None
        text = _expanded(compressed)
        self._expanded_bytes += MAX_METADATA_BYTES if text is None else len(text)
        return text


def _expanded(compressed: bytes) -> bytes | None:
    """What zlib's stream holds; None when that is more than the limit.

    Raises:
        zlib.error: It is no such stream, or ends early.
    """
    stream = zlib.decompressobj()
    expanded = stream.decompress(compressed, MAX_METADATA_BYTES + 1)
    if len(expanded) > MAX_METADATA_BYTES:
        return None
    if not stream.eof:
        raise zlib.error("The stream ends early.")
    return expanded
