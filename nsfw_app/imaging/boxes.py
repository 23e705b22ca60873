"""Splits an image into boxes, so that no conversion needs a second image in memory."""

from collections.abc import Iterator

from PIL import Image

BOX_PIXELS = 1 << 16

Box = tuple[int, int, int, int]  # left, top, right, bottom


def boxes(size: tuple[int, int], *, step: int = 1) -> Iterator[Box]:
    """Boxes that cover an image, each of about `BOX_PIXELS` at most.

    Args:
        size: Width and height in pixels.
        step: Left and top of each box are multiples of it.
    """
    width, height = size
    across = max(step, min(width, BOX_PIXELS) // step * step)
    down = max(step, BOX_PIXELS // across // step * step)
    for top in range(0, height, down):
        for left in range(0, width, across):
            yield left, top, min(left + across, width), min(top + down, height)


def box_averaged(image: Image.Image, step: int) -> Image.Image:
    """A loaded image with a fraction of its width and height. Closes its input.

    Args:
        image: Of a mode whose values can be averaged.
        step: Width and height in pixels of the area that becomes one pixel.
    """
    size = -(-image.width // step), -(-image.height // step)
    result = Image.new(image.mode, size)
    for box in boxes(image.size, step=step):
        result.paste(image.crop(box).reduce(step), (box[0] // step, box[1] // step))
    result.info.update(image.info)
    image.close()
    return result
