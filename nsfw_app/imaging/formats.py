"""The supported image formats; a new format is added here.

- `NAMES` lists the formats; Pillow opens no others.
- `CLEANERS` prepare files of a format for its decoder.
- `PLUGINS` replace Pillow's own where it lacks something.
- `memory` states the memory per pixel of a format, `damage` how truncated files are detected.
"""

from collections.abc import Callable

from PIL import Image

from nsfw_app.imaging import avif, damage, gif, heif, jpeg_segments, png, tiff, webp
from nsfw_app.imaging.source import Source

# Pillow's name of each format, and the name in messages.
NAMES = {
    "JPEG": "JPEG",
    "PNG": "PNG",
    "WEBP": "WebP",
    "GIF": "GIF",
    "BMP": "BMP",
    "TIFF": "TIFF",
    "AVIF": "AVIF",
    "HEIF": "HEIC",
}
# Pillow's names of variants: a phone's JPEG with a preview, a BMP without file header.
VARIANTS = {"MPO": "JPEG", "DIB": "BMP"}
OPENED = (*NAMES, "DIB")
SUPPORTED = f"{', '.join([*NAMES.values()][:-1])} or {[*NAMES.values()][-1]}"

SIGNATURES = (jpeg_segments.SIGNATURE, b"\x89PNG", b"GIF8", b"II*\0", b"MM\0*")  # at the start
BRANDS = (b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1")  # of AVIF and HEIC
BOX = b"ftyp"  # at byte 4 of AVIF and HEIC; the brand follows

FIRST_BYTES = 16  # by which Pillow identifies formats

PLUGINS = (heif, avif, jpeg_segments, tiff, webp, damage)
CLEANERS: tuple[tuple[bytes | tuple[bytes, ...], Callable[[bytes], Source]], ...] = (
    (jpeg_segments.SIGNATURE, jpeg_segments.cleaned),
    (png.SIGNATURE, png.cleaned),
    (gif.SIGNATURES, gif.cleaned),
    (tiff.SIGNATURES, tiff.checked),
)

Image.init()
for plugin in PLUGINS:
    plugin.register()
SUFFIXES = frozenset(s for s, f in Image.registered_extensions().items() if f in OPENED)


def cleaned(data: bytes) -> Source:
    """A file as its decoder gets it: without oversized or damaged metadata.

    Raises:
        TooManyParts: It has more parts than any image.
    """
    for signatures, clean in CLEANERS:
        if data.startswith(signatures):
            return clean(data)
    return Source(data)


def has_signature(data: bytes) -> bool:
    """Whether a file begins as one of these formats does."""
    return data.startswith(SIGNATURES) or (data[4:8] == BOX and data[8:12] in BRANDS)


def begins_as_image(data: bytes) -> bool:
    """Whether the first bytes are those of a supported format, as its decoder identifies it."""
    accepts = (Image.OPEN[name][1] for name in NAMES)
    return any(accept is not None and accept(data[:FIRST_BYTES]) for accept in accepts)


def canonical(image_format: str | None) -> str:
    """The format in `NAMES` that Pillow's name of a format, or of a variant, belongs to."""
    return VARIANTS.get(image_format or "", image_format or "")
