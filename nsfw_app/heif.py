"""Reads pixels and color profile of HEIC files, and nothing else.

No metadata is read: pi-heif 1.4.0 ends the whole process when the type of a metadata item is not
UTF-8, which no `except` can catch. Orientation does not need it, because libheif rotates the
picture itself. The color profile has a type from a fixed list and is safe to read.
"""

from typing import Any

import pi_heif
from pi_heif import heif

ICC_TYPES = frozenset({"rICC", "prof"})  # restricted or not; the other type is no ICC profile


class _Picture(heif.BaseImage):  # type: ignore[misc]
    """One picture of a file: size, mode, pixels and color profile."""

    def __init__(self, c_image: Any) -> None:
        super().__init__(c_image)
        self.info = {"primary": bool(c_image.primary)}
        profile = c_image.color_profile
        if profile and profile["type"] in ICC_TYPES:
            self.info["icc_profile"] = profile["data"]


def register() -> None:
    """Let Pillow open HEIC files."""
    heif.HeifImage = _Picture
    pi_heif.register_heif_opener(thumbnails=False)
