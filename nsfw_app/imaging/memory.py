"""Pixel limits of decoders, from the memory that each needs for a pixel.

Every image up to `max_pixels` is decoded within 8 bytes for each pixel of that limit. Where a
library needs more for a pixel, fewer pixels are accepted.
"""

from PIL import Image, ImageFile, JpegImagePlugin, TiffImagePlugin
from PIL.ExifTags import Base

from nsfw_app.imaging import formats

BUDGET = 7.8  # bytes a pixel of the limit; the rest to 8 is for buffers of fixed size
STORED = 4.0  # bytes that Pillow stores for a pixel in color
COEFFICIENT = 2.0  # bytes that libjpeg stores for each value of a progressive file
SECOND_IMAGE = 8.0  # bytes a pixel of an image together with its rotated or converted copy

# Peak bytes a pixel, measured with Pillow 12.3.0 and pi-heif 1.4.0; see test_memory.py.
STILL = {"WEBP": 14.5, "AVIF": 14.5, "HEIF": 13.0}
ANIMATED = {"GIF": 19.0, "PNG": 18.5, "WEBP": 24.0, "AVIF": 30.0, "HEIF": 15.0, "TIFF": 12.0}
DEEP = {"AVIF": 1.3, "HEIF": 1.35}  # times as much for more than 8 bits a channel
FRAME = 5.0  # bytes a pixel of each decoded frame, on white and reduced on black
FRAMES_SHARE = 1.0  # bytes a pixel of the limit that are reserved for decoded frames
ALWAYS = 1 << 18  # pixels that are decoded in any case
IN_PLACE = frozenset({"1", "L", "P", "RGB", "RGBA"})  # modes that need no second image in color


def limit(
    image: ImageFile.ImageFile, *, max_pixels: int, frames: int, copied_bytes: int = 0
) -> int:
    """The most pixels that an image of this kind may have.

    Args:
        image: Opened, not loaded.
        max_pixels: The limit of all images.
        frames: How many the file has.
        copied_bytes: Of a second copy of the file, such as one without its metadata.
    """
    left = BUDGET - (FRAMES_SHARE if frames > 1 else 0)
    allowed = int((max_pixels * left - copied_bytes) / _bytes_per_pixel(image, frames))
    return min(max_pixels, max(allowed, ALWAYS))


def frames_limit(image: ImageFile.ImageFile, *, max_pixels: int, frames: int) -> int:
    """The most pixels of all decoded frames together; see `limit`."""
    pixels = image.width * image.height
    if frames == 1 or pixels <= ALWAYS:
        return max_pixels
    left = BUDGET * max_pixels - _bytes_per_pixel(image, frames) * pixels
    return min(max_pixels, int(left / FRAME))


def holds_copy(size: tuple[int, int], *, max_pixels: int) -> bool:
    """Whether there is room for a second image in color of this size."""
    pixels = size[0] * size[1]
    return pixels <= ALWAYS or pixels * SECOND_IMAGE <= BUDGET * max_pixels


def kind(image: ImageFile.ImageFile, *, frames: int) -> str:
    """The name of images of this kind in a message."""
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        return "progressive JPEG images"
    several = "images with several frames" if frames > 1 else "images"
    return f"{formats.NAMES.get(formats.canonical(image.format), image.format)} {several}"


def _bytes_per_pixel(image: ImageFile.ImageFile, frames: int) -> float:
    image_format = image.format or ""
    deep = DEEP.get(image_format, 1.0) if image.info.get("deep") else 1.0
    if frames > 1 and image_format in ANIMATED:
        return ANIMATED[image_format] * deep
    needed = STILL.get(image_format, STORED) * deep
    if isinstance(image, JpegImagePlugin.JpegImageFile) and image.info.get("progressive"):
        needed = max(needed, _stored(image) + COEFFICIENT * _samples(image))
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        needed = max(needed, _stored(image) + _strip(image))
        if image.tag_v2.get(Base.Orientation, 1) != 1:  # Pillow rotates a copy while it loads
            needed = max(needed, 2 * _stored(image) + _strip(image))
    return needed


def _stored(image: Image.Image) -> float:
    """Bytes that Pillow stores for a pixel."""
    if image.mode in {"1", "L", "P"}:
        return 1.0
    return 2.0 if image.mode.startswith("I;16") else STORED


def _samples(image: JpegImagePlugin.JpegImageFile) -> float:
    """Values of a JPEG for a pixel, summed over its channels."""
    factors = [(down, across) for _, down, across, _ in image.layer]
    most = max(down for down, _ in factors) * max(across for _, across in factors)
    return sum(down * across for down, across in factors) / max(1, most)


def _strip(image: TiffImagePlugin.TiffImageFile) -> float:
    """Bytes of the part that libtiff unpacks at once, for each pixel of the image."""
    if image.tile and image.tile[0].codec_name != "libtiff":
        return 0.0
    tags = image.tag_v2
    across, down = image._tile_size  # before rotation
    bits = sum(tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,)))
    samples = tags.get(TiffImagePlugin.SAMPLESPERPIXEL, 1)
    bits = max(bits, samples * max(tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,))))
    rows = tags.get(TiffImagePlugin.TILELENGTH, tags.get(TiffImagePlugin.ROWSPERSTRIP, down))
    width = tags.get(TiffImagePlugin.TILEWIDTH, across)
    pixels = min(rows, down) * min(width, across)
    return float(bits / 8 * pixels / (across * down))
