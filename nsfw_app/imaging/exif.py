"""Reads the orientation from EXIF, and nothing else.

Pillow's reader is not used: it raises on damaged EXIF, and also reads orientations from XMP and
text chunks, which browsers ignore.
"""

import struct

PREFIX = b"Exif\0\0"
BYTE_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
ORIENTATION = 0x0112  # tag, EXIF 2.32, table 4
SHORT, LONG = 3, 4  # types of a tag's value
ENTRY_BYTES = 12


def orientation(exif: bytes) -> int:
    """The orientation of the stored image, 1 to 8; 1, upright, if the tag is absent or invalid.

    Args:
        exif: A TIFF structure, with or without the prefix that JPEG has.

    Raises:
        ValueError: The first directory cannot be read.
    """
    tiff = exif.removeprefix(PREFIX)
    order = BYTE_ORDERS.get(tiff[:4])
    if order is None:
        raise ValueError("EXIF does not begin with a TIFF header.")
    found = 1
    try:
        (start,) = struct.unpack_from(f"{order}L", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, start)
        for at in range(start + 2, start + 2 + count * ENTRY_BYTES, ENTRY_BYTES):
            tag, kind, _, value = struct.unpack_from(f"{order}HHL4s", tiff, at)
            if tag == ORIENTATION and kind in {SHORT, LONG}:
                (found,) = struct.unpack_from(f"{order}{'H' if kind == SHORT else 'L'}", value)
    except struct.error:
        raise ValueError("EXIF ends within its first directory.") from None
    return found if found in range(1, 9) else 1
