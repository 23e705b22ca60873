"""How much memory decoders need, and how many pixels each may therefore be given.

Every image up to `max_pixels` is to be decoded within `BUDGET` bytes for each pixel of that limit.
Where a library needs more for a pixel, fewer pixels are accepted.
"""

from PIL import Image, ImageFile, JpegImagePlugin, TiffImagePlugin

BUDGET = 8.0  # bytes a pixel of the limit
STORED = 4.0  # bytes that Pillow keeps of a pixel in color
COEFFICIENT = 2.0  # bytes that libjpeg keeps of each value of a progressive file
SECOND_PICTURE = 8.2  # the picture and another one made from it: rotated, or converted

# Peak bytes a pixel, measured with Pillow 12.3.0 and pi-heif 1.4.0 by `tests/test_memory.py`.
MEASURED = {
    "WEBP": 20.0,  # libwebp's two canvases, its own pixels, the copy that Pillow is given
    "AVIF": 14.0,  # planes, interleaved pixels, the copy that Pillow is given
    "HEIF": 10.0,
}
ANIMATED = {"GIF": 24.0, "PNG": 20.0, "WEBP": 24.0, "AVIF": 18.0, "HEIF": 14.0}
IN_PLACE = frozenset({"1", "L", "P", "RGB", "RGBA"})  # modes that need no second picture in color
NAMES = {"WEBP": "WebP images", "AVIF": "AVIF images", "HEIF": "HEIC images"}


def limit(image: ImageFile.ImageFile, *, max_pixels: int, frames: int) -> int:
    """The most pixels that an image of this kind may have.

    Args:
        image: Opened, not loaded.
        max_pixels: The limit of all images.
        frames: How many the file has.
    """
    needed = _bytes_per_pixel(image, frames)
    return min(max_pixels, int(max_pixels * BUDGET / needed))


def holds_copy(size: tuple[int, int], *, max_pixels: int) -> bool:
    """Whether there is room for a second picture in color of this size."""
    return size[0] * size[1] * SECOND_PICTURE <= BUDGET * max_pixels


def kind(image: ImageFile.ImageFile) -> str:
    """What images of this kind are called in a message."""
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        return "progressive JPEG images"
    return NAMES.get(image.format or "", f"{image.format} images of this kind")


def _bytes_per_pixel(image: ImageFile.ImageFile, frames: int) -> float:
    if frames > 1 and image.format in ANIMATED:
        return ANIMATED[image.format]
    if image.format in MEASURED:
        return MEASURED[image.format]
    needed = STORED
    if isinstance(image, JpegImagePlugin.JpegImageFile) and image.info.get("progressive"):
        needed = max(needed, _stored(image) + COEFFICIENT * _samples(image))
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        needed = max(needed, _stored(image) + _strip(image))
    return needed


def _stored(image: Image.Image) -> float:
    """Bytes that Pillow keeps of a pixel."""
    if image.mode in {"1", "L", "P"}:
        return 1.0
    return 2.0 if image.mode.startswith("I;16") else STORED


def _samples(image: JpegImagePlugin.JpegImageFile) -> float:
    """Values that a JPEG has for a pixel, over its channels."""
    factors = [(down, across) for _, down, across, _ in image.layer]
    most = max(down for down, _ in factors) * max(across for _, across in factors)
    return sum(down * across for down, across in factors) / max(1, most)


def _strip(image: TiffImagePlugin.TiffImageFile) -> float:
    """Bytes of the part that libtiff unpacks at once, for each pixel of the image."""
    tags = image.tag_v2
    bits = sum(tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,)))
    samples = tags.get(TiffImagePlugin.SAMPLESPERPIXEL, 1)
    bits = max(bits, samples * max(tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,))))
    rows = tags.get(
        TiffImagePlugin.TILELENGTH, tags.get(TiffImagePlugin.ROWSPERSTRIP, image.height)
    )
    width = tags.get(TiffImagePlugin.TILEWIDTH, image.width)
    pixels = min(rows, image.height) * min(width, image.width)
    return float(bits / 8 * pixels / (image.width * image.height))
