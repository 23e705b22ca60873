"""Reads HEIC pictures, and of HEIC nothing but the picture.

What always holds: no metadata of a file is read. pi-heif 1.4.0 ends the whole process when the
type of a metadata item is not UTF-8, which no `except` can catch; orientation does not need it,
because libheif turns the picture itself.
"""

from typing import Any

import pi_heif
from pi_heif import heif


class _Picture(heif.BaseImage):  # type: ignore[misc]
    """One picture of a file: size, mode and pixels."""

    def __init__(self, c_image: Any) -> None:
        super().__init__(c_image)
        self.info = {"primary": bool(c_image.primary)}


def register() -> None:
    """Let Pillow open HEIC files."""
    heif.HeifImage = _Picture
    pi_heif.register_heif_opener(thumbnails=False)
