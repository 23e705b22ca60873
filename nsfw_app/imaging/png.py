"""PNG chunks: what the decoder does not need is removed, and missing rows are detected.

- Text, times and private chunks are dropped, so none of them can break decoding or fill memory.
- An ancillary chunk with a wrong checksum is dropped, as libpng and browsers do.
- Compressed text and profiles are never expanded beyond `MAX_METADATA_BYTES`.
- Of chunks that may occur only once, the first counts, as in browsers.
- Work and memory are proportional to the size of the file.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from nsfw_app.errors import TooManyParts
from nsfw_app.imaging import icc
from nsfw_app.imaging.source import Source
from nsfw_app.records import WarningCode

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_METADATA_BYTES = 1 << 20  # of one chunk, expanded; Pillow's MAX_TEXT_CHUNK
MAX_TEXT_BYTES = 8 << 20  # of all text chunks; of their compressed text, expanded
MAX_CHUNKS = 100_000  # with content; at libpng's usual 8 KiB a chunk, a file of 800 MB
# Many zero-length chunks, of image data or ancillary. A file of 50 MB may have four million.
EMPTY = re.compile(rb"(?:\0{4}(?:IDAT|[a-z][A-Za-z]{3}).{4}){100,}+", re.DOTALL)
CHUNK_BYTES = 12  # length, kind, checksum
PIXELS = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND", b"fdAT"})
ANIMATION = frozenset({b"acTL", b"fcTL"})
TEXTS = frozenset({b"tEXt", b"zTXt", b"iTXt"})
COLORS = frozenset({b"cICP", b"iCCP", b"sRGB", b"gAMA", b"cHRM"})

GRAY, RGB = 0, 2  # color types (PNG, 11.2.1)
CHANNELS = {GRAY: 1, RGB: 3, 3: 1, 4: 2, 6: 4}  # of each color type
ADAM7 = (  # left, top, distance of columns, distance of rows, by pass
    *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)),
    *((0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)),
)
INFLATED_BYTES = 1 << 16  # at once

SRGB_GAMMA = 45_455  # gAMA of sRGB files (PNG, 11.3.2.5), in 100,000ths
# Code points of cICP (ITU-T H.273, tables 2 and 3) that a matrix profile can express.
CICP_PRIMARIES = {
    1: icc.SRGB,
    9: icc.Primaries((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),  # BT.2020
    12: icc.Primaries((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),  # Display P3
}
BT1886_CURVE = icc.Curve(2.4)  # how screens show BT.601, BT.709 and BT.2020
CICP_CURVES = {13: icc.SRGB_CURVE, 8: icc.Curve(1.0)} | dict.fromkeys((1, 6, 14, 15), BT1886_CURVE)


def cleaned(data: bytes) -> Source:
    """The file with its pixels, palette, transparency and frames, and nothing else.

    Args:
        data: A file that begins with PNG's signature.

    Returns:
        EXIF and color profile apart from the bytes; `ends` is whether there was an end chunk.

    Raises:
        TooManyParts: It has more than `MAX_CHUNKS` chunks.
    """
    return _Cleaner(data).run()


class _Cleaner:
    """Walks over the chunks of one file."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._view = memoryview(data)
        self._kept: list[bytes | memoryview] = []
        self._kept_to = 0  # where the next run of chunks that stay begins
        self._end = len(SIGNATURE)
        self._warnings: set[WarningCode] = set()
        self._empty_bytes = self._text_bytes = self._expanded_bytes = 0
        self._exif = b""
        self._colors: dict[bytes, bytes] = {}
        self._header = b""
        self._in_pixels = False

    def run(self) -> Source:
        """Keep or drop every chunk."""
        ends = self._walk()
        self._replace(self._end, self._end)
        # The bytes themselves where nothing was dropped: a copy may take as much as the pixels.
        is_same = len(self._kept) == 1 and len(self._kept[0]) == len(self._data)
        if self._empty_bytes > MAX_METADATA_BYTES or self._text_bytes > MAX_TEXT_BYTES:
            self._warnings.add(WarningCode.METADATA)
        return Source(
            self._data if is_same else b"".join(self._kept),
            self._exif,
            self._profile(),
            frozenset(self._warnings),
            ends,
        )

    def _walk(self) -> bool:
        """Keep or drop every chunk; returns whether the last one was the end chunk."""
        for _ in range(MAX_CHUNKS):
            self._skip_empty()
            at = self._end
            if at + 8 > len(self._data):
                return False
            length, kind = struct.unpack_from(">I4s", self._data, at)
            end = at + CHUNK_BYTES + length
            if not kind.isalpha():
                return False
            if end > len(self._data):
                if kind in PIXELS:
                    self._end = len(self._data)
                return False
            self._end = end
            self._sort(kind, at, end)
            if kind == b"IEND":
                return True
        raise TooManyParts(f"more than {MAX_CHUNKS} chunks")

    def _skip_empty(self) -> None:
        if found := EMPTY.match(self._data, self._end):
            self._empty_bytes += found.end() - self._end
            self._replace(self._end, found.end())
            self._end = found.end()

    def _replace(self, start: int, end: int, by: bytes = b"") -> None:
        """Drop a part of the file, or replace it."""
        if start > self._kept_to:
            self._kept.append(self._view[self._kept_to : start])
        if by:
            self._kept.append(by)
        self._kept_to = end

    def _sort(self, kind: bytes, start: int, end: int) -> None:
        if kind in PIXELS:
            self._in_pixels |= kind == b"IDAT"
            if kind == b"IHDR" and not self._header:
                self._header = self._data[start + 8 : end - 4]
            return
        chunk = self._view[start:end]
        checksum = zlib.crc32(chunk[4:-4])
        sound = checksum == int.from_bytes(chunk[-4:])
        if not sound:
            self._warnings.add(WarningCode.METADATA)
        if kind in ANIMATION:  # browsers show the frames, so they are needed
            if not sound:
                self._replace(start, end, bytes(chunk[:-4]) + checksum.to_bytes(4))
        elif sound and kind == b"tRNS":
            self._replace(start, end, self._transparency(bytes(chunk[8:-4])))
        else:
            self._replace(start, end)
            if sound:
                self._read(kind, chunk)

    def _read(self, kind: bytes, chunk: memoryview) -> None:
        """Read a sound ancillary chunk whose content is returned apart from the file."""
        if kind == b"eXIf":
            self._exif = self._exif or bytes(chunk[8:-4])
        elif kind in COLORS and not self._in_pixels:
            self._read_color(kind, chunk)
        elif kind in TEXTS:
            self._text_bytes += len(chunk)
            self._measure_text(kind, bytes(chunk[8:-4]))

    def _transparency(self, body: bytes) -> bytes:
        """The transparent color in the depth that Pillow unpacks samples to, 8 bits."""
        depth, color_type = self._header[8:10] if len(self._header) > 9 else (8, RGB)
        if color_type == GRAY and depth in {2, 4} and len(body) == 2:
            levels = (1 << depth) - 1
            body = ((int.from_bytes(body) & levels) * 255 // levels).to_bytes(2)
        elif color_type == RGB and depth == 16 and len(body) == 6:
            body = bytes([0, body[0], 0, body[2], 0, body[4]])
        return _chunk(b"tRNS", body)

    def _read_color(self, kind: bytes, chunk: memoryview) -> None:
        if kind in self._colors:
            self._warnings.add(WarningCode.METADATA)
            return
        if kind != b"iCCP":
            self._colors[kind] = bytes(chunk[8:-4])
            return
        _, _, rest = bytes(chunk[8:-4]).partition(b"\0")  # name, compression method, profile
        try:
            profile = _expanded(rest[1:])
            if profile is None:
                self._warnings.add(WarningCode.METADATA)
        except zlib.error:
            self._warnings.add(WarningCode.COLOR_PROFILE)
            profile = None
        self._colors[kind] = profile or b""

    def _profile(self) -> bytes:
        """The profile of the colors; empty for sRGB."""
        colors = self._colors
        if b"cICP" in colors:
            try:
                return _coded_profile(colors[b"cICP"])
            except ValueError:
                self._warnings.add(WarningCode.COLOR_PROFILE)
        if b"iCCP" in colors or b"sRGB" in colors:
            return colors.get(b"iCCP", b"")
        try:
            return _gamma_profile(colors.get(b"gAMA", b""), colors.get(b"cHRM", b""))
        except ValueError:
            self._warnings.add(WarningCode.COLOR_PROFILE)
            return b""

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
        if self._expanded_bytes > MAX_TEXT_BYTES:
            return None
        text = _expanded(compressed)
        self._expanded_bytes += MAX_METADATA_BYTES if text is None else len(text)
        return text


def _expanded(compressed: bytes) -> bytes | None:
    """Decompress a zlib stream; None if the result exceeds the limit.

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


def _coded_profile(body: bytes) -> bytes:
    """The profile that a cICP chunk names; empty for sRGB.

    Raises:
        ValueError: A matrix profile cannot express it, such as HDR.
    """
    if len(body) != 4 or body[2:] != b"\0\1":  # RGB, full range
        raise ValueError("The samples are not full-range RGB.")
    primaries, curve = CICP_PRIMARIES.get(body[0]), CICP_CURVES.get(body[1])
    if primaries is None or curve is None:
        raise ValueError(f"Primaries {body[0]} with transfer function {body[1]}.")
    is_srgb = (primaries, curve) == (icc.SRGB, icc.SRGB_CURVE)
    return b"" if is_srgb else icc.matrix_profile(primaries, curve)


def _gamma_profile(gamma: bytes, chromaticities: bytes) -> bytes:
    """The profile that gAMA and cHRM describe; empty for sRGB.

    - Without gAMA, cHRM is ignored, as in browsers.
    - The gamma of sRGB with the primaries of sRGB is sRGB: image editors write both for it.

    Raises:
        ValueError: They describe no color space.
    """
    if len(gamma) != 4 or gamma == bytes(4):
        return b""
    (exponent,) = struct.unpack(">I", gamma)
    primaries = icc.SRGB
    if len(chromaticities) == 32:
        values = [value / 100_000 for value in struct.unpack(">8I", chromaticities)]
        white, red, green, blue = zip(values[::2], values[1::2], strict=True)
        primaries = icc.Primaries(red, green, blue, white)
    if exponent == SRGB_GAMMA and primaries == icc.SRGB:
        return b""
    light = 100_000 / exponent
    if not 0.1 <= light <= 10:  # in fixed-point numbers, and meant for a screen
        raise ValueError(f"A gamma of {light} is out of range.")
    return icc.matrix_profile(primaries, icc.Curve(light))


def may_lack_rows(image: Image.Image) -> bool:
    """Whether `has_all_rows` must be called for a loaded PNG.

    Pillow does not report image data that end early: it leaves zeros in the rows that are
    missing. Where the last row is something else, all rows are there.
    """
    if image.info.get("interlace") or getattr(image, "n_frames", 1) > 1:
        return True
    return not np.asarray(image.crop((0, image.height - 1, *image.size))).any()


def has_all_rows(data: bytes) -> bool:
    """Whether the image data of each frame expand to as many bytes as its size requires.

    Args:
        data: The file, as `cleaned` returns it.
    """
    return all(stream.inflate().is_complete for stream in _streams(data))


def with_right_checksum(data: bytes) -> bytes | None:
    """A still image whose only fault is the checksum of its compressed data, with the right one.

    Args:
        data: The file, as `cleaned` returns it.

    Returns:
        None where something else is wrong.
    """
    streams = list(_streams(data))
    if len(streams) != 1 or not streams[0].is_sound:
        return None
    (stream,) = streams
    inflated = stream.inflate()
    if not inflated.is_complete or not inflated.is_ended:
        return None
    right = inflated.checksum.to_bytes(4)
    parts: list[memoryview] = []
    left = inflated.size
    stored = b""
    for part in stream.parts:
        parts.append(part[:left])
        stored = (stored + bytes(part[left : left + 4]))[:4]
        left -= len(parts[-1])
    if stored == right:
        return None
    parts.append(memoryview(right))
    checksum = zlib.crc32(b"IDAT")
    for part in parts:
        checksum = zlib.crc32(part, checksum)
    head = struct.pack(">I4s", inflated.size + 4, b"IDAT")
    return b"".join((data[: stream.start], head, *parts, checksum.to_bytes(4), data[stream.end :]))


@dataclass(frozen=True, slots=True)
class _Inflated:
    """The result of decompressing image data.

    Attributes:
        is_complete: Whether there are as many bytes as the image needs.
        is_ended: Whether the compressed data have an end.
        size: Bytes up to that end, without the checksum.
        checksum: Adler-32 of the decompressed data.
    """

    is_complete: bool
    is_ended: bool
    size: int
    checksum: int


@dataclass(slots=True)
class _Stream:
    """The compressed data of one frame.

    Attributes:
        needed: Bytes that the frame has, with a filter byte a row.
        start: Of the first chunk, in the file.
        end: Of the last chunk.
        is_sound: Whether the checksums of its chunks are right.
        parts: Contents of the chunks.
    """

    needed: int
    start: int
    end: int
    is_sound: bool = True
    parts: list[memoryview] = field(default_factory=list)

    def inflate(self) -> _Inflated:
        """Expand the data in small pieces, and count them."""
        stream = zlib.decompressobj(-zlib.MAX_WBITS)  # without header and checksum
        count, checksum, size, skipped = 0, 1, 0, 2
        for part in self.parts:
            for start in range(0, len(part), INFLATED_BYTES):
                piece = bytes(part[start : start + INFLATED_BYTES])
                cut = min(skipped, len(piece))
                skipped -= cut
                size += len(piece)
                piece = piece[cut:]
                while piece and not stream.eof:
                    try:
                        expanded = stream.decompress(piece, INFLATED_BYTES)
                    except zlib.error:
                        return _Inflated(count >= self.needed, False, 0, 0)
                    count += len(expanded)
                    checksum = zlib.adler32(expanded, checksum)
                    piece = stream.unconsumed_tail
                    if count > self.needed:
                        return _Inflated(True, False, 0, 0)
                if stream.eof:
                    size -= len(stream.unused_data)
                    return _Inflated(count >= self.needed, True, size, checksum)
        return _Inflated(count >= self.needed, False, 0, 0)


def _streams(data: bytes) -> Iterator[_Stream]:
    """The compressed data of each frame."""
    view = memoryview(data)
    header = b""
    size = (0, 0)
    found: _Stream | None = None
    at = len(SIGNATURE)
    while at + CHUNK_BYTES <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = min(at + CHUNK_BYTES + length, len(data))
        body = view[at + 8 : end - 4]
        if kind in {b"IDAT", b"fdAT"}:
            if found is None:
                found = _Stream(_needed(size, header), at, at)
            found.parts.append(body[4:] if kind == b"fdAT" else body)
            found.end = end
            found.is_sound &= zlib.crc32(view[at + 4 : end - 4]) == int.from_bytes(
                view[end - 4 : end]
            )
        elif kind == b"IHDR" and len(body) >= 13:
            header = bytes(body)
            size = struct.unpack_from(">II", header)
        elif kind == b"fcTL" and len(body) >= 12:
            if found is not None:
                yield found
                found = None
            size = struct.unpack_from(">II", body, 4)
        at = end
    if found is not None:
        yield found


def _needed(size: tuple[int, int], header: bytes) -> int:
    """Bytes of a frame before compression, in all passes."""
    depth, color_type, interlaced = header[8], header[9], header[12]
    bits = depth * CHANNELS.get(color_type, 1)
    total = 0
    for left, top, across, down in ADAM7 if interlaced else ((0, 0, 1, 1),):
        columns, rows = -((left - size[0]) // across), -((top - size[1]) // down)
        if columns > 0 and rows > 0:
            total += rows * (1 + (columns * bits + 7) // 8)
    return total


def _chunk(kind: bytes, body: bytes) -> bytes:
    checksum = zlib.crc32(kind + body)
    return struct.pack(">I", len(body)) + kind + body + checksum.to_bytes(4)
