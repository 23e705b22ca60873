"""Smaller pictures of an image for people: what is kept, what a card shows, what stands for it.

What always holds: none of them carries metadata of the upload.
"""

import io

import imagehash
from PIL import Image

from nsfw_app.imaging import decode

PREVIEW_SIDE = 1600  # pixels; fills 70 % of the height of a large screen
THUMBNAIL_SIDE = 320  # pixels; a card is 160 CSS pixels wide, twice that on dense screens
HASHED_SIDE = 256  # pixels; the hash itself looks at 9 by 8
NEAR_BITS = 4  # of 64; recompressed and resized copies differ in fewer
KEPT = "The kept picture"
PLACEHOLDER_SIDE = 24  # pixels; too few to recognise what an image shows


def preview(image: Image.Image, side: int = PREVIEW_SIDE) -> bytes:
    """A JPEG for a person to look at, at most `side` pixels wide and high, without metadata."""
    return _encoded(fitted(image, side), "JPEG", quality=88)


def thumbnail(picture_jpeg: bytes) -> bytes:
    """A card-sized JPEG made from a kept picture.

    Raises:
        ImageError: The kept picture is damaged.
    """
    limits = decode.Limits(len(picture_jpeg) + 1, PREVIEW_SIDE**2, 1)
    with decode.memory_for(KEPT):
        decoded = decode.decode(picture_jpeg, name=KEPT, limits=limits)
        return preview(decoded.frames[0].image, THUMBNAIL_SIDE)


def placeholder(image: Image.Image) -> bytes:
    """A WebP of 24 pixels that stands for a picture nobody has asked to see."""
    return _encoded(fitted(image, PLACEHOLDER_SIDE), "WEBP", quality=60)


def perceptual_hash(image: Image.Image) -> str:
    """A difference hash of 64 bits as 16 hexadecimal digits; alike pictures differ in few bits."""
    return str(imagehash.dhash(fitted(image, HASHED_SIDE)))


def alike(one: str | None, other: str | None) -> bool:
    """Whether two perceptual hashes are of pictures that look the same; unknown ones are not."""
    if one is None or other is None:
        return False
    return (int(one, 16) ^ int(other, 16)).bit_count() <= NEAR_BITS


def fitted(image: Image.Image, side: int) -> Image.Image:
    """The image with at most `side` pixels on its longer side."""
    scale = side / max(image.size)
    if scale >= 1:
        return image
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    # As sharp as bicubic to the eye, and a third quicker.
    return image.resize(size, Image.Resampling.HAMMING, reducing_gap=2.0)


def _encoded(image: Image.Image, image_format: str, *, quality: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, quality=quality)
    return buffer.getvalue()
