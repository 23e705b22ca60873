"""Makes previews, thumbnails, placeholders and perceptual hashes of images.

- None of them carries metadata of the upload.
"""

import io

import imagehash
import numpy as np
from PIL import Image

from nsfw_app.imaging import decode

PREVIEW_SIDE = 1600  # pixels; fills 70 % of the height of a large screen
THUMBNAIL_SIDE = 320  # pixels; a card is 160 CSS pixels wide, twice that on dense screens
HASHED_SIDE = 256  # pixels; the hash itself uses 9 by 8
HASH_BITS, HASH_DIGITS = 64, 16
NEAR_BITS = 4  # most recompressed and resized copies differ in at most as many
COMPARED_BITS = 12  # the most in which one of 1,285 copies of 257 images differs
FLAT_BITS = 20  # a hash with fewer bits that are set, or that are not, is that of a flat image
GRID_SIDE = 16  # cells
NEAR_LEVELS = 6  # of 255; a flat image encoded with low quality differs by half of it
# Of the range of levels. Those copies, some cropped by half a percent, differ by 0.13 at most;
# different images with hashes as near as those of copies by 0.15 or more.
NEAR_CONTRAST = 0.14
STORED_PREVIEW = "The stored preview"
PLACEHOLDER_SIDE = 24  # pixels; too few to recognize the content


def min_side(side: int) -> int:
    """Pixels of the longer side that an image must be decoded to for a preview of this side.

    A tenth fewer: a 12-megapixel JPEG decoded at three eighths needs no resizing, which would take
    as long as decoding.
    """
    return side - side // 10


def preview(image: Image.Image, side: int = PREVIEW_SIDE) -> bytes:
    """A JPEG for display, at most `side` pixels wide and high."""
    return _encoded(fitted(image, side), "JPEG", quality=88)


def thumbnail(preview_jpeg: bytes) -> bytes:
    """A card-sized JPEG made from a stored preview.

    Raises:
        ImageError: The preview is damaged.
    """
    with decode.memory_for(STORED_PREVIEW):
        return preview(decoded_preview(preview_jpeg), THUMBNAIL_SIDE)


def decoded_preview(preview_jpeg: bytes) -> Image.Image:
    """The pixels of a stored preview.

    Raises:
        ImageError: The preview is damaged.
    """
    limits = decode.Limits(len(preview_jpeg) + 1, PREVIEW_SIDE**2, 1)
    return decode.decode(preview_jpeg, name=STORED_PREVIEW, limits=limits).frames[0].image


def placeholder(image: Image.Image) -> bytes:
    """A WebP of 24 pixels, shown until the preview is revealed."""
    return _encoded(fitted(image, PLACEHOLDER_SIDE), "WEBP", quality=60)


def perceptual_hash(image: Image.Image) -> str:
    """A difference hash and the colors of a grid; similar images differ little in both.

    16 hexadecimal digits for the 64 bits of the hash, then 6 for each of 16 by 16 cells.
    """
    small = fitted(image, HASHED_SIDE)
    colors = small if small.mode == "RGB" else small.convert("RGB")  # which would copy it
    grid = colors.resize((GRID_SIDE, GRID_SIDE), Image.Resampling.BOX)
    return f"{imagehash.dhash(small)}{grid.tobytes().hex()}"


def are_near_duplicates(one: str | None, other: str | None) -> bool:
    """Whether two perceptual hashes are those of near duplicates; False if one is unknown.

    - Hashes that differ in few bits are those of near duplicates, unless an image is flat: those of
      gradients, captions and nearly blank pages have few bits set, or nearly all, and hardly
      differ.
    - Of flat images, and of hashes that differ in some more bits, as copies of text and of dark
      scenes do, the grids decide. Hashes of earlier versions have none, and are no near duplicates.
    """
    if one is None or other is None:
        return False
    bits = [int(text[:HASH_DIGITS], 16) for text in (one, other)]
    distance = (bits[0] ^ bits[1]).bit_count()
    if distance > COMPARED_BITS:
        return False
    if distance <= NEAR_BITS and not any(_is_flat(value) for value in bits):
        return True
    return _have_near_grids(*(bytes.fromhex(text[HASH_DIGITS:]) for text in (one, other)))


def _is_flat(bits: int) -> bool:
    return not FLAT_BITS <= bits.bit_count() <= HASH_BITS - FLAT_BITS


def _have_near_grids(one: bytes, other: bytes) -> bool:
    """Whether no cell differs by more than re-encoding, resizing and slight cropping explain."""
    if not one or not other:
        return False
    grids = np.array([list(one), list(other)])
    contrast = np.ptp(grids, axis=1).max()
    return bool(np.ptp(grids, axis=0).max() <= max(NEAR_LEVELS, NEAR_CONTRAST * contrast))


def fitted(image: Image.Image, side: int) -> Image.Image:
    """The image with at most `side` pixels on its longer side."""
    scale = side / max(image.size)
    if scale >= 1:
        return image
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    # Visually as sharp as bicubic, and a third faster.
    return image.resize(size, Image.Resampling.HAMMING, reducing_gap=2.0)


def _encoded(image: Image.Image, image_format: str, *, quality: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, quality=quality)
    return buffer.getvalue()
