"""AVIF plugin for Pillow that opens files with damaged EXIF and frees libavif's memory early.

Pillow 12.3.0 parses EXIF while it opens a file, and refuses the file when that fails. Only the
rotation of the container counts here, as in browsers; EXIF is passed on unparsed.
"""

import io
import re
from typing import Any

from PIL import AvifImagePlugin, Image, ImageFile, _avif

from nsfw_app.imaging.source import Source
from nsfw_app.records import WarningCode
from nsfw_app.system import usable_cpus

# A box that describes an item of version 2 or 3: flags, number of the item, protection, type.
EXIF_ITEM = re.compile(rb"(infe(?:\x02.{7}|\x03.{9}))Exif", re.DOTALL)
CONFIGURATION = b"av1C"  # box of each coded item
HIGH_BIT_DEPTH = 0x40  # of its third byte (AV1 Codec ISO Media File Format Binding, 2.3.3)


class _AvifImageFile(AvifImagePlugin.AvifImageFile):
    """An AVIF file; `info` has its rotation as `orientation`, and `deep` for over 8 bits."""

    def _open(self) -> None:
        data = self.fp.read() if self.fp else b""
        self._decoder = _avif.AvifDecoder(data, "auto", usable_cpus())
        size, self.n_frames, self._mode, icc, exif, orientation, _ = self._decoder.get_info()
        self._size = size
        self.is_animated = self.n_frames > 1
        self.info["orientation"] = orientation
        self.info["deep"] = is_deep(data)
        for key, value in (("icc_profile", icc), ("exif", exif)):
            if value:
                self.info[key] = value
        self.seek(0)

    def load(self) -> Any:
        """Load the frame; for a still image, free libavif's own copy first."""
        if self.n_frames > 1:
            return super().load()
        if self.tile:
            pixels = self._decoder.get_frame(0)[0]
            self._decoder = None
            self.fp = io.BytesIO(pixels)
        return ImageFile.ImageFile.load(self)


def is_deep(data: bytes) -> bool:
    """Whether a file has more than 8 bits a channel."""
    configurations = data.split(CONFIGURATION)[1:]
    return any(len(c) > 2 and c[2] & HIGH_BIT_DEPTH for c in configurations)


def without_exif(data: bytes) -> Source:
    """The file with its EXIF items renamed: libavif rejects files whose EXIF is no TIFF."""
    return Source(
        EXIF_ITEM.sub(rb"\1free", data), exif=b"", warnings=frozenset({WarningCode.METADATA})
    )


def register() -> None:
    """Register the plugin with Pillow."""
    Image.register_open("AVIF", _AvifImageFile, AvifImagePlugin._accept)
