"""TIFF plugin for Pillow with more gray formats, and checks of a file's directories.

Pillow 12.3.0 does not invert grays deeper than 8 bits that are white at zero, reads compressed
big-endian 32-bit samples in the wrong byte order, and refuses 10, 14 and some 12-bit grays.
"""

import ctypes
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, cast

import numpy as np
from PIL import Image, ImageFile, TiffImagePlugin, _imaging
from PIL.ExifTags import Base

from nsfw_app.errors import TooManyParts, UnsupportedSamples
from nsfw_app.imaging.grayscale import Levels
from nsfw_app.imaging.source import Source
from nsfw_app.records import WarningCode

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the latter two of BigTIFF

WHITE_IS_ZERO, BLACK_IS_ZERO = 0, 1  # PhotometricInterpretation
UNSIGNED, SIGNED, FLOAT = 1, 2, 3  # SampleFormat
LITTLE, BIG = b"II", b"MM"
PACKED_BITS = (10, 14)  # without an unpacker in Pillow
PACKED = "packed_grays"
UNKNOWN_SAMPLES = "unknown pixel mode"  # Pillow's message
MAX_DIRECTORIES = 10_000  # Pillow compares each with all before it
MIN_VALUE_BYTES = 1 << 20
UNIT_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 16: 8}
PIXEL_TAGS = frozenset({Base.StripOffsets, Base.StripByteCounts, *range(322, 326)})  # and tiles
BLOCK = 1 << 15  # samples unpacked at once; of 8 their bits are whole bytes

# Samples of one gray channel: byte order, format, bits -> mode and layout, as in `OPEN_INFO`.
GRAYS = {
    (LITTLE, SIGNED, 8): ("L", "L"),
    (BIG, SIGNED, 8): ("L", "L"),
    (LITTLE, UNSIGNED, 12): ("I;16", "I;12"),
    (BIG, UNSIGNED, 12): ("I;16", "I;12"),
    (BIG, UNSIGNED, 16): ("I;16B", "I;16B"),
    (LITTLE, SIGNED, 16): ("I", "I;16S"),
    (BIG, SIGNED, 16): ("I", "I;16BS"),
    (LITTLE, UNSIGNED, 32): ("I", "I;32S"),  # read back as unsigned by `grayscale`
    (BIG, UNSIGNED, 32): ("I", "I;32BS"),
    (LITTLE, SIGNED, 32): ("I", "I;32S"),
    (BIG, SIGNED, 32): ("I", "I;32BS"),
    (LITTLE, FLOAT, 16): ("I;16", "I;16"),  # read back as numbers by `grayscale`
    (BIG, FLOAT, 16): ("I;16B", "I;16B"),
    (LITTLE, FLOAT, 64): ("F", "F;64F"),
    (BIG, FLOAT, 64): ("F", "F;64BF"),
    **{
        (order, UNSIGNED, bits): ("I;16", PACKED) for order in (LITTLE, BIG) for bits in PACKED_BITS
    },
}
# libtiff unpacks into the byte order of the machine; Pillow handles that of 16-bit samples only.
NATIVE = {
    "F;32F": "F;32NF",
    "F;32BF": "F;32NF",
    "F;64F": "F;64NF",
    "F;64BF": "F;64NF",
    "I;32S": "I;32NS",
    "I;32BS": "I;32NS",
    "I;16S": "I;16NS",
    "I;16BS": "I;16NS",
}


def _description(tags: TiffImagePlugin.ImageFileDirectory_v2) -> str:
    """The samples of a directory in a message."""
    channels = tags.get(TiffImagePlugin.SAMPLESPERPIXEL, 1)
    bits = max(tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,)))
    is_float = tags.get(TiffImagePlugin.SAMPLEFORMAT, (UNSIGNED,))[0] == FLOAT
    kind = "floating-point " if is_float else ""
    return f"TIFF images with {channels} channels of {bits}-bit {kind}samples"


class _TiffImageFile(TiffImagePlugin.TiffImageFile):
    """A TIFF file; `info` has the sample format of its grays as `levels`."""

    def _setup(self) -> None:
        tags = self.tag_v2
        try:
            super()._setup()
        except SyntaxError as error:
            if str(error) != UNKNOWN_SAMPLES:
                raise
            raise UnsupportedSamples(_description(tags)) from error
        bits = tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,))
        self.info.pop("levels", None)
        if len(bits) > 1 or self.mode in {"1", "P"}:
            return
        photometric = tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION, WHITE_IS_ZERO)
        sample = tags.get(TiffImagePlugin.SAMPLEFORMAT, (UNSIGNED,))[0]
        signed = sample == SIGNED
        inverted = photometric == WHITE_IS_ZERO and (self.mode != "L" or signed)
        self.info["levels"] = Levels(
            bits[0], signed=signed, white_is_zero=inverted, is_float=sample == FLOAT
        )
        self.tile = [self._readable(tile, bits[0]) for tile in self.tile]

    def _readable(self, tile: ImageFile._Tile, bits: int) -> ImageFile._Tile:
        """A tile that Pillow reads correctly.

        Raises:
            UnsupportedSamples: The packing is not supported.
        """
        codec, extents, offset, _ = tile
        args = cast(tuple[Any, ...], tile.args)
        layout = args[0]
        if layout == PACKED:
            if codec != "raw" or TiffImagePlugin.TILEOFFSETS in self.tag_v2:
                raise UnsupportedSamples(f"compressed TIFF images with {bits}-bit samples")
            return ImageFile._Tile(PACKED, extents, offset, (bits,))
        if codec == "libtiff" and layout in NATIVE:
            return ImageFile._Tile(codec, extents, offset, (NATIVE[layout], *args[1:]))
        return tile


class _PackedGrays(ImageFile.PyDecoder):
    """Unpacks grays, most significant bit first, each row beginning with a byte of its own."""

    _pulls_fd = True

    def decode(self, _: Image.DecoderInput) -> tuple[int, int]:
        """Read a strip; see `ImageFile.PyDecoder`."""
        (bits,) = self.args
        file = cast(IO[bytes], self.fd)
        state = self.state
        left, top, width, height = state.xoff, state.yoff, state.xsize, state.ysize
        row_bytes = (width * bits + 7) // 8
        for row in range(height):
            packed = file.read(row_bytes)
            if len(packed) < row_bytes:
                return -1, -2
            state.yoff, state.ysize = top + row, 1
            for start in range(0, width, BLOCK):
                count = min(BLOCK, width - start)
                part = np.frombuffer(packed, np.uint8)[start * bits // 8 :]
                planes = np.unpackbits(part[: (count * bits + 7) // 8], count=count * bits)
                values = np.zeros(count, dtype="<u2")
                for plane in planes.reshape(count, bits).T:
                    values = values << 1 | plane
                state.xoff, state.xsize = left + start, count
                self.set_as_raw(values.tobytes(), "I;16")
        return -1, 0


@dataclass(frozen=True, slots=True)
class _Entry:
    """A tag in a directory: its number, where its value is, and how long that is."""

    tag: int
    start: int
    size: int


def checked(data: bytes) -> Source:
    """The file itself, with warnings about metadata beyond its end.

    Args:
        data: A file that begins with one of `SIGNATURES`.

    Raises:
        TooManyParts: It has more directories than any image, or tags that share their values:
            Pillow reads each into memory.
    """
    warnings: set[WarningCode] = set()
    value_bytes = 0
    for entry in _entries(data):
        is_there = entry.start + entry.size <= len(data)
        if is_there:
            value_bytes += entry.size
        elif entry.tag == Base.InterColorProfile:
            warnings.add(WarningCode.COLOR_PROFILE)
        elif entry.tag not in PIXEL_TAGS:
            warnings.add(WarningCode.METADATA)
        if entry.tag == Base.ExifOffset and is_there:
            (start,) = struct.unpack_from(_order(data) + "L", data, entry.start)
            if start + 2 > len(data):
                warnings.add(WarningCode.METADATA)
        if value_bytes > 2 * len(data) + MIN_VALUE_BYTES:
            raise TooManyParts("tags with more values than the file holds")
    return Source(data, warnings=frozenset(warnings))


def _order(data: bytes) -> str:
    return "<" if data.startswith(LITTLE) else ">"


def _entries(data: bytes) -> Iterator[_Entry]:
    """The tags of all directories, in the file's order.

    Raises:
        TooManyParts: There are more than `MAX_DIRECTORIES`.
    """
    order = _order(data)
    is_big = data[2:4] in {b"+\0", b"\0+"}
    word, inline = ("Q", 8) if is_big else ("L", 4)
    counter, entry = (f"{order}Q", f"{order}HHQ") if is_big else (f"{order}H", f"{order}HHL")
    entry_bytes = struct.calcsize(entry) + inline
    seen: set[int] = set()
    try:
        (at,) = struct.unpack_from(order + word, data, 8 if is_big else 4)
        while at and at not in seen:
            seen.add(at)
            if len(seen) > MAX_DIRECTORIES:
                raise TooManyParts(f"more than {MAX_DIRECTORIES} directories")
            (count,) = struct.unpack_from(counter, data, at)
            at += struct.calcsize(counter)
            for start in range(at, at + count * entry_bytes, entry_bytes):
                tag, kind, length = struct.unpack_from(entry, data, start)
                size = length * UNIT_BYTES.get(kind, 0)
                value = start + entry_bytes - inline
                if size > inline:
                    (value,) = struct.unpack_from(order + word, data, value)
                yield _Entry(tag, value, size)
            (at,) = struct.unpack_from(order + word, data, at + count * entry_bytes)
    except struct.error:
        return  # Pillow reports it, where it matters


def register() -> None:
    """Register the plugin with Pillow, and stop libtiff from printing to stderr."""
    # Errors of libtiff reach Python as codes; its own messages go to stderr.
    ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler(None)
    for (order, sample, bits), layout in GRAYS.items():
        for photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO):
            key = (order, photometric, (sample,), 1, (bits,), ())
            TiffImagePlugin.OPEN_INFO.setdefault(key, layout)
    Image.register_decoder(PACKED, _PackedGrays)
    Image.register_open("TIFF", _TiffImageFile, TiffImagePlugin._accept)
