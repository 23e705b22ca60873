"""HEIC plugin for Pillow that reads pixels and the color profile, and nothing else.

No metadata is read: pi-heif 1.4.0 ends the whole process when the type of a metadata item is not
UTF-8, which no `except` can catch. Orientation does not need it, because libheif rotates the
image itself. The color profile has a type from a fixed list and is safe to read.
"""

from typing import Any

import pi_heif
from pi_heif import as_plugin, heif
from PIL import Image

ICC_TYPES = frozenset({"rICC", "prof"})  # restricted or not; the other type is no ICC profile
BYTE_BITS = 8
CHROMA_420 = 1  # libheif's number; only without it do deep images take more memory


class _HeifImage(heif.BaseImage):  # type: ignore[misc]
    """One image of a file: size, mode, pixels, color profile, and `deep` for over 8 bits."""

    def __init__(self, c_image: Any) -> None:
        super().__init__(c_image)
        self.info = {"primary": bool(c_image.primary)}
        self.info["deep"] = c_image.bit_depth > BYTE_BITS and c_image.chroma != CHROMA_420
        profile = c_image.color_profile
        if profile and profile["type"] in ICC_TYPES:
            self.info["icc_profile"] = profile["data"]


class _HeifImageFile(as_plugin.HeifImageFile):  # type: ignore[misc]
    """A HEIC file that keeps the decoded pixels of the loaded image only."""

    _loaded_frame = -1

    def load(self) -> Any:
        """Load the image, once; those before it cannot be loaded again."""
        frame = self.tell()
        if frame == self._loaded_frame:
            return Image.Image.load(self)
        pixels = super().load()
        self._loaded_frame = frame
        if self._heif_file:
            del self._heif_file[frame]._c_image
            self._heif_file[frame]._data = None
        return pixels


def register() -> None:
    """Register the plugin with Pillow."""
    heif.HeifImage = _HeifImage
    pi_heif.register_heif_opener(thumbnails=False)
    Image.register_open("HEIF", _HeifImageFile, as_plugin._is_supported_heif)
