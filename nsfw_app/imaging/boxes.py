"""Parts of a picture small enough to work on without a second picture in memory."""

from collections.abc import Iterator

from PIL import Image

BOX_PIXELS = 1 << 16

Box = tuple[int, int, int, int]  # left, top, right, bottom


def boxes(size: tuple[int, int], *, step: int = 1) -> Iterator[Box]:
    """Boxes that cover a picture, each of about `BOX_PIXELS` at most.

    Args:
        size: Width and height in pixels.
        step: What left and top of each box are multiples of.
    """
    width, height = size
    across = max(step, min(width, BOX_PIXELS) // step * step)
    down = max(step, BOX_PIXELS // across // step * step)
    for top in range(0, height, down):
        for left in range(0, width, across):
            yield left, top, min(left + across, width), min(top + down, height)


def halved(image: Image.Image) -> Image.Image:
    """A loaded picture with half its width and height. Closes what it is given."""
    size = -(-image.width // 2), -(-image.height // 2)
    result = Image.new(image.mode, size)
    for box in boxes(image.size, step=2):
        result.paste(image.crop(box).reduce(2), (box[0] // 2, box[1] // 2))
    result.info.update(image.info)
    image.close()
    return result
