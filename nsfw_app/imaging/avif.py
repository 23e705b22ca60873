"""Opens AVIF files whose EXIF is damaged.

Pillow 12.3.0 parses EXIF while it opens a file, and refuses the file when that fails. Only the
rotation of the container counts here, as in browsers; EXIF is handed on as it is.
"""

from PIL import AvifImagePlugin, Image, _avif

from nsfw_app.machine import usable_cpus


class _AvifImageFile(AvifImagePlugin.AvifImageFile):
    """An AVIF file; `info` has the rotation as `orientation`."""

    def _open(self) -> None:
        data = self.fp.read() if self.fp else b""
        self._decoder = _avif.AvifDecoder(data, "auto", usable_cpus())
        size, self.n_frames, self._mode, icc, exif, orientation, _ = self._decoder.get_info()
        self._size = size
        self.is_animated = self.n_frames > 1
        self.info["orientation"] = orientation
        for key, value in (("icc_profile", icc), ("exif", exif)):
            if value:
                self.info[key] = value
        self.seek(0)


def register() -> None:
    """Let Pillow open AVIF files with this."""
    Image.register_open("AVIF", _AvifImageFile, AvifImagePlugin._accept)
