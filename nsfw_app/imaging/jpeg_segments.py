"""JPEG segments: oversized metadata is removed, missing scans and rows are detected.

Work and memory are proportional to the size of the file: Pillow's parser needs quadratic time for
repeated EXIF segments, and libjpeg processes the whole image once per scan.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import Image, ImageFile, JpegImagePlugin, features

from nsfw_app.errors import TooManyParts
from nsfw_app.imaging import exif
from nsfw_app.imaging.source import Source
from nsfw_app.records import WarningCode

SIGNATURE = b"\xff\xd8\xff"
END = b"\xff\xd9"
START_OF_SCAN, RESTART_INTERVAL, EXIF_SEGMENT = 0xDA, 0xDD, 0xE1
METADATA = frozenset({*range(0xE0, 0xF0), 0xFE})  # application segments and comments
FRAME_HEADERS = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})  # except table markers
PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
# Segments that define colors, by marker: their first bytes and minimum length.
COLOR = {0xE0: (b"JFIF\0", 14), 0xE2: (b"ICC_PROFILE\0", 14), 0xEE: (b"Adobe", 12)}
# Markers that are followed by a segment, or end the file: no stuffed byte, no restart.
MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd8\xff])")
RESTART = re.compile(rb"\xff([\xd0-\xd7])")
GRAY = range(127, 130)  # the value that libjpeg gives missing blocks, inverted or not
# Bits that no encoder writes after the last block: blocks decoded from them are not gray.
NOISE = b"\x55" * 64

MAX_EXIF_BYTES = 1 << 20  # in all; one segment has 64 KiB
MAX_METADATA_SEGMENTS = 1000  # that Pillow gets; a profile of 16 MB has 255
MAX_JUNK_BYTES = 1 << 20  # between segments; Pillow skips them one at a time
MAX_TABLES = 1000  # and other segments that are no metadata
MAX_SEGMENTS = 500_000
MAX_SCANS = 100  # libjpeg's own scripts have 10 at most
BLOCK = 8  # samples a side
# Older libraries round other scales to a half, for which Pillow's row of pixels is too short.
HAS_THREE_EIGHTHS = features.check_feature("libjpeg_turbo")
COEFFICIENTS = 64  # of a block


class _JpegImageFile(JpegImagePlugin.JpegImageFile):
    """A JPEG file of which only the first image is opened, and EXIF is not parsed.

    - It is also decoded at three eighths of its size, which Pillow does not offer.
    - Entries of an EXIF directory may overlap: parsed, a megabyte of them takes gigabytes.
    """

    def draft(
        self, mode: str | None, size: tuple[int, int] | None
    ) -> tuple[str, tuple[int, int, float, float]] | None:
        """Decode at the smallest scale with at least this size; see `Image.Image.draft`."""
        whole = self.size
        drafted = super().draft(mode, size)
        if drafted is None or size is None or not HAS_THREE_EIGHTHS:
            return drafted
        scaled = _three_eighths(whole)
        if self.decoderconfig == (2, 0) and scaled[0] >= size[0] and scaled[1] >= size[1]:
            [(codec, _, offset, options)] = self.tile
            self.tile = [ImageFile._Tile(codec, (0, 0, *scaled), offset, options)]
            self._size = scaled
            # A denominator: libjpeg-turbo takes the next larger number of eighths.
            self.decoderconfig = (3, 0)
            return self.mode, (0, 0, whole[0] * 3 / BLOCK, whole[1] * 3 / BLOCK)
        return drafted

    def _read_dpi_from_exif(self) -> None:
        """Do not read the resolution."""


def _three_eighths(size: tuple[int, int]) -> tuple[int, int]:
    """The size that libjpeg-turbo decodes to at three eighths: rounded up."""
    return -(-size[0] * 3 // BLOCK), -(-size[1] * 3 // BLOCK)


def register() -> None:
    """Register the plugin with Pillow."""
    Image.register_open("JPEG", _JpegImageFile, JpegImagePlugin._accept)


@dataclass(slots=True)
class _Counts:
    """Counts of the segments before the data of the first scan."""

    junk_bytes: int = 0
    exif_bytes: int = 0
    metadata: int = 0
    others: int = 0
    frames: int = 0
    components: int = 0
    is_progressive: bool = False
    components_of_scan: int = 0

    def add(self, data: bytes, marker: int, start: int, end: int) -> None:
        """Count a segment."""
        if marker not in METADATA:
            self.others += 1
        else:
            self.metadata += 1
            if marker == EXIF_SEGMENT and data.startswith(exif.PREFIX, start + 4):
                self.exif_bytes += end - start
        if marker in FRAME_HEADERS:
            self.frames += 1
            self.is_progressive = marker in PROGRESSIVE
            self.components = data[start + 9] if end > start + 9 else 0
        elif marker == START_OF_SCAN and end > start + 4:
            self.components_of_scan = data[start + 4]


def cleaned(data: bytes) -> Source:
    """The file, without metadata where that is oversized.

    Args:
        data: A file that begins with JPEG's signature.

    Raises:
        TooManyParts: It has more segments or scans than any image.
    """
    counts = _Counts()
    at = 2
    for marker, start, end in _segments(data):
        counts.junk_bytes += start - at
        counts.add(data, marker, start, end)
        at = end
        if counts.frames > 1:
            raise TooManyParts("more than one frame header")
        if counts.metadata > MAX_SEGMENTS or counts.others > MAX_TABLES:
            raise TooManyParts(f"more than {MAX_TABLES} tables or {MAX_SEGMENTS} segments")
    if counts.is_progressive or counts.components_of_scan < counts.components:
        for number, _ in enumerate(_scans(data)):
            if number >= MAX_SCANS:
                raise TooManyParts(f"more than {MAX_SCANS} scans")
    is_oversized = (
        counts.exif_bytes > MAX_EXIF_BYTES
        or counts.metadata > MAX_METADATA_SEGMENTS
        or counts.junk_bytes > MAX_JUNK_BYTES
    )
    return without_metadata(data) if is_oversized else Source(data)


def without_metadata(data: bytes) -> Source:
    """The file without application segments, except those that define colors.

    Returns:
        EXIF apart from the bytes, up to `MAX_EXIF_BYTES`; its warning is that metadata was dropped.

    Raises:
        TooManyParts: There are too many segments that define colors.
    """
    kept, found = [data[:2]], bytearray()
    rest = 2
    for marker, start, end in _segments(data):
        rest = end
        beginning, least = COLOR.get(marker, (b"", end - start))
        is_color = data.startswith(beginning, start + 4) and end - start - 4 >= least
        if marker not in METADATA or is_color:
            kept.append(data[start:end])
        elif (
            marker == EXIF_SEGMENT
            and data.startswith(exif.PREFIX, start + 4)
            and len(found) + end - start <= MAX_EXIF_BYTES
        ):
            found += data[start + 4 + len(exif.PREFIX) : end]
        if len(kept) > MAX_TABLES:
            raise TooManyParts(f"more than {MAX_TABLES} tables")
    kept.append(data[rest:])
    return Source(b"".join(kept), bytes(found), warnings=frozenset({WarningCode.METADATA}))


def damage_variants(data: bytes) -> tuple[bytes, bytes]:
    """The file up to its end marker, twice: closed there, and with noise before the new end.

    Both decode to the same image if and only if the last scan is complete.
    """
    body = data[: _end(data)]
    return body + END, body + NOISE + END


def has_end(data: bytes) -> bool:
    """Whether there is an end marker."""
    return _end(data) < len(data)


def ends_in_gray(image: Image.Image) -> bool:
    """Whether the last row of a loaded JPEG is the gray that libjpeg fills missing blocks with."""
    bottom = image.crop((0, image.height - 1, *image.size)).getextrema()
    bands = bottom if isinstance(bottom[0], tuple) else (bottom,)
    return all(low in GRAY and high in GRAY for low, high in bands)


@dataclass(frozen=True, slots=True)
class _Frame:
    """The contents of the headers before the first scan.

    Attributes:
        is_progressive: Whether coefficients come in several scans.
        factors: Horizontal and vertical sampling factor of each component.
        units: Blocks, or groups of blocks, of a scan with all components.
        restart_interval: Units per restart interval; 0 for no restart markers.
        end: Where the first scan's data begin.
    """

    is_progressive: bool
    factors: dict[int, tuple[int, int]]
    units: int
    restart_interval: int
    end: int


@dataclass(frozen=True, slots=True)
class _Scan:
    """The header of a scan.

    Attributes:
        components: Their identifiers.
        first: Coefficient, in zigzag order.
        last: Coefficient, included.
        shift_before: Low bits of coefficients that the scans before left out; 0 for the first.
        shift: Low bits that this scan leaves out.
    """

    components: tuple[int, ...] = ()
    first: int = 0
    last: int = -1
    shift_before: int = 0
    shift: int = 0


def has_all_scans(data: bytes) -> bool:
    """Whether the scans define all coefficients to their last bit, with all restart markers.

    libjpeg returns an image for any scans; if some are missing, it has less detail or no color.
    """
    frame = _frame(data)
    if frame is None:
        return True  # libjpeg raises an error
    if not frame.is_progressive:
        missing = set(frame.factors)
        for count, scan in enumerate(_scans(data)):
            missing -= set(scan.components)
            if not missing:
                return count > 0 or _has_all_restarts(data, frame)
        return False
    # Missing low bits of each coefficient; a scan continues where another ended.
    left: dict[tuple[int, int], int] = {}
    for scan in _scans(data):
        for component in scan.components:
            for at in range(scan.first, scan.last + 1):
                if scan.shift_before in {0, left.get((component, at))}:
                    left[component, at] = scan.shift
    count = sum(shift == 0 for shift in left.values())
    return count == COEFFICIENTS * len(frame.factors)


def _has_all_restarts(data: bytes, frame: _Frame) -> bool:
    """Whether the restart markers of the only scan are there, in their order."""
    if not frame.restart_interval:
        return True
    end = MARKER.search(data, frame.end)
    found = RESTART.finditer(data, frame.end, end.start() if end else len(data))
    count = 0
    for marker in found:
        if marker[1][0] & 7 != count & 7:
            return False
        count += 1
    return count == (frame.units - 1) // frame.restart_interval


def _frame(data: bytes) -> _Frame | None:
    """The headers before the first scan; None where they cannot be read."""
    factors: dict[int, tuple[int, int]] = {}
    is_progressive = False
    size = (0, 0)
    interval = end = 0
    try:
        for marker, start, stop in _segments(data):
            end = stop
            if marker in FRAME_HEADERS:
                is_progressive = marker in PROGRESSIVE
                height, width, count = struct.unpack_from(">HHB", data, start + 5)
                size = (width, height)
                for at in range(start + 10, start + 10 + 3 * count, 3):
                    component, sampling, _ = struct.unpack_from(">BBB", data, at)
                    factors[component] = (sampling >> 4, sampling & 15)
            elif marker == RESTART_INTERVAL:
                (interval,) = struct.unpack_from(">H", data, start + 4)
        across = BLOCK * max(x for x, _ in factors.values()) if len(factors) > 1 else BLOCK
        down = BLOCK * max(y for _, y in factors.values()) if len(factors) > 1 else BLOCK
        units = -(-size[0] // across) * -(-size[1] // down)
    except (struct.error, ValueError, ZeroDivisionError):
        return None
    return _Frame(is_progressive, factors, units, interval, end) if units else None


def _scan(body: bytes) -> _Scan:
    """The header of a scan from its segment; an empty one where it cannot be read."""
    count = body[0] if body else 0
    if len(body) < 4 + 2 * count:
        return _Scan()
    first, last, bits = body[1 + 2 * count : 4 + 2 * count]
    components = tuple(body[1 : 1 + 2 * count : 2])
    return _Scan(components, first, min(last, COEFFICIENTS - 1), bits >> 4, bits & 15)


def _end(data: bytes) -> int:
    """Where the end marker of the first image is, or where the file ends."""
    at = 2
    for _, _, end in _segments(data):
        at = end
    for marker, start, _ in _markers(data, at):
        if marker == END[1]:
            return start
    return len(data)


def _scans(data: bytes) -> Iterator[_Scan]:
    """The header of each scan."""
    for marker, start, end in _markers(data, 2):
        if marker == END[1]:
            return
        if marker == START_OF_SCAN:
            yield _scan(data[start + 4 : end])


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of each segment, the first start of scan last."""
    for marker, start, end in _markers(data, 2):
        if marker == END[1] or end > len(data):
            return
        yield marker, start, end
        if marker == START_OF_SCAN:
            return


def _markers(data: bytes, at: int) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of each segment; an end marker has no more than its two bytes."""
    while match := MARKER.search(data, at):
        start = match.start()
        at = start + 2
        if match[1] != END[1:] and at + 2 <= len(data):
            at += max(2, struct.unpack_from(">H", data, at)[0])
        yield match[1][0], start, at
