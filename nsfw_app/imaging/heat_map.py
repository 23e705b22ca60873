"""Heat maps: a map of cells drawn over an image, with its scale and a sentence.

The scale is cividis: equal steps look equal, also to people with any color vision deficiency, and
in gray. Source: Nuñez, Anderton and Renslow (2018), "Optimizing colormaps with consideration for
color vision deficiency to enable accurate interpretation of scientific data".
"""

import io
import textwrap
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

# Ten colors at equal distances, as matplotlib has them; those between are interpolated.
CIVIDIS = np.array(
    [
        (0x00, 0x22, 0x4E),
        (0x12, 0x35, 0x70),
        (0x3B, 0x49, 0x6C),
        (0x57, 0x5D, 0x6D),
        (0x70, 0x71, 0x73),
        (0x8A, 0x86, 0x78),
        (0xA5, 0x9C, 0x74),
        (0xC3, 0xB3, 0x69),
        (0xE1, 0xCC, 0x55),
        (0xFE, 0xE8, 0x38),
    ]
)
OPACITY = 0.75  # of cells; the image stays visible below them
SIDE = 800  # pixels of the longer side of the drawn image
MARGIN, BAR, FONT = 16, 16, 16  # pixels
LEGEND = "evidence of the model: none", "most"
MIN_WIDTH = 400  # pixels, so that the sentence has room
WIDTH_OF_CHARACTER = 0.5  # of the font's size, on average
BLUR_SIDE = 24  # pixels; too few to recognize the content

Rows = Sequence[Sequence[float | None]]


def draw(
    image: Image.Image,
    *,
    sentence: str,
    values: Rows | None = None,
    marked: Sequence[Sequence[bool]] = (),
    reveal: bool = False,
) -> bytes:
    """A PNG of an image with a map over it, the sentence below.

    Args:
        image: RGB, upright.
        sentence: Text below the image.
        values: Rows of numbers in [0, 1] over the whole image; None in cells without a value. None
            draws no map and no scale.
        marked: The cells that are outlined, of the same shape.
        reveal: Draw the image itself. Else it is blurred and gray.
    """
    scale = SIDE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    shown = image.resize(size, Image.Resampling.BICUBIC) if reveal else _blurred(image, size)
    if values is not None:
        shown = _overlaid(shown, values)
        _outline(ImageDraw.Draw(shown), size, marked)
    buffer = io.BytesIO()
    _framed(shown, sentence, has_scale=values is not None).save(buffer, "PNG")
    return buffer.getvalue()


def color_of(value: float) -> tuple[int, int, int]:
    """The color of a value in [0, 1]: red, green and blue."""
    places = np.linspace(0, 1, len(CIVIDIS))
    red, green, blue = (round(float(np.interp(value, places, part))) for part in CIVIDIS.T)
    return red, green, blue


def _blurred(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    small = image.convert("L")
    small.thumbnail((BLUR_SIDE, BLUR_SIDE))
    return small.resize(size, Image.Resampling.BICUBIC).convert("RGB")


def _overlaid(image: Image.Image, values: Rows) -> Image.Image:
    """The image with the color of each cell over it; the more opaque, the higher the value."""
    cells = [
        (0, 0, 0, 0) if value is None else (*color_of(value), round(255 * OPACITY * value**0.5))
        for row in values
        for value in row
    ]
    grid = np.array(cells, dtype=np.uint8).reshape(len(values), len(values[0]), 4)
    overlay = Image.fromarray(grid, "RGBA").resize(image.size, Image.Resampling.NEAREST)
    return Image.alpha_composite(image.convert("RGBA"), overlay).convert("RGB")


def _outline(
    pen: ImageDraw.ImageDraw, size: tuple[int, int], marked: Sequence[Sequence[bool]]
) -> None:
    """Draw the border of the marked cells, white on black, so that it shows on any color."""
    if not marked:
        return
    cells = np.pad(np.array(marked, dtype=np.bool_), 1)
    rows, columns = cells.shape[0] - 2, cells.shape[1] - 2
    lines = [
        *_lines(cells, rows, columns),
        *(_turned(line) for line in _lines(cells.T, columns, rows)),
    ]
    for color, width in (("black", 5), ("white", 2)):
        for (column, row), (end_column, end_row) in lines:
            pen.line(
                [
                    (column * size[0] / columns, row * size[1] / rows),
                    (end_column * size[0] / columns, end_row * size[1] / rows),
                ],
                fill=color,
                width=width,
            )


Line = tuple[tuple[int, int], tuple[int, int]]  # from a corner of a cell to another: column, row


def _lines(cells: NDArray[np.bool_], rows: int, columns: int) -> list[Line]:
    """Horizontal edges between marked and other cells, of cells padded by one."""
    return [
        ((column, row), (column + 1, row))
        for row in range(rows + 1)
        for column in range(columns)
        if cells[row, column + 1] != cells[row + 1, column + 1]
    ]


def _turned(line: Line) -> Line:
    (x, y), (end_x, end_y) = line
    return (y, x), (end_y, end_x)


def _framed(image: Image.Image, sentence: str, *, has_scale: bool) -> Image.Image:
    """The image on white, with the scale and the sentence below."""
    font = ImageFont.load_default(FONT)
    width = max(image.width, MIN_WIDTH)
    lines = textwrap.wrap(sentence, int(width / (FONT * WIDTH_OF_CHARACTER)))
    scale_height = BAR + FONT + MARGIN if has_scale else 0
    height = image.height + MARGIN + scale_height + len(lines) * round(FONT * 1.4) + MARGIN
    page = Image.new("RGB", (width + 2 * MARGIN, height + MARGIN), "white")
    page.paste(image, (MARGIN, MARGIN))
    pen = ImageDraw.Draw(page)
    top = image.height + 2 * MARGIN
    if has_scale:
        for x in range(width):
            color = color_of(x / (width - 1))
            pen.line([(MARGIN + x, top), (MARGIN + x, top + BAR - 1)], fill=color)
        low, high = LEGEND
        pen.text((MARGIN, top + BAR + 2), low, fill="black", font=font)
        pen.text((MARGIN + width, top + BAR + 2), high, fill="black", font=font, anchor="ra")
        top += scale_height
    for number, line in enumerate(lines):
        pen.text((MARGIN, top + number * round(FONT * 1.4)), line, fill="black", font=font)
    return page
