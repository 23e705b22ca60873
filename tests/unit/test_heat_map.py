"""Heat maps: the scale, the blurred image below, outlines, and the sentence."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nsfw_app.imaging import heat_map

VALUES = ((0.0, 1.0), (None, 0.5))
MARKED = ((False, True), (False, False))
SENTENCE = "Covering the marked area lowers the score from 0.84 to 0.31."


def drawn(image: Image.Image, **options: object) -> Image.Image:
    """The PNG as an image."""
    png = heat_map.draw(image, sentence=SENTENCE, **options)  # type: ignore[arg-type]
    return Image.open(io.BytesIO(png)).convert("RGB")


def checkerboard() -> Image.Image:
    """Fine black and white squares, which blurring turns gray."""
    squares = np.indices((200, 300)).sum(axis=0) // 4 % 2 * 255
    return Image.fromarray(squares.astype(np.uint8)).convert("RGB")


def test_the_page_draws_with_the_same_scale() -> None:
    """The script of the page has the colors of the PNG."""
    script = Path(heat_map.__file__).parents[1] / "ui/assets/shared/colorScale.js"
    colors = re.findall(r"'#([0-9a-f]{6})'", script.read_text(encoding="utf-8"))
    assert colors == [bytes(color).hex() for color in heat_map.CIVIDIS.tolist()]


def test_the_scale_rises_in_lightness() -> None:
    """From dark blue to yellow; in gray, a higher value is always lighter."""
    colors = [heat_map.color_of(value) for value in np.linspace(0, 1, 50)]
    assert (colors[0], colors[-1]) == ((0x00, 0x22, 0x4E), (0xFE, 0xE8, 0x38))
    light = [0.2126 * red + 0.7152 * green + 0.0722 * blue for red, green, blue in colors]
    assert light == sorted(light)


def test_cells_are_colored_and_outlined() -> None:
    """A cell with a value has its color over the image; one without shows the image."""
    page = drawn(Image.new("RGB", (300, 200), "black"), values=VALUES, marked=MARKED, reveal=True)
    left, top = heat_map.MARGIN, heat_map.MARGIN
    width, height = 800, 533
    red, green, blue = page.getpixel((left + width * 3 // 4, top + height // 4))  # type: ignore[misc]
    assert red > green > blue > 0
    for place in ((width // 4, height // 4), (width // 4, height * 3 // 4)):
        assert page.getpixel((left + place[0], top + place[1])) == (0, 0, 0)
    assert page.getpixel((left + width // 2, top + height // 4)) == (255, 255, 255), "outline"


def test_the_image_is_blurred_until_it_is_revealed() -> None:
    """Details are gone, and colors."""
    shown = [drawn(checkerboard(), reveal=reveal) for reveal in (False, True)]
    box = (50, 50, 450, 350)
    contrasts = [np.asarray(page.crop(box), dtype=float).std() for page in shown]
    assert contrasts[0] < 20 < 100 < contrasts[1]


def test_without_a_map_there_is_no_scale() -> None:
    """The sentence is there; the page is lower by the scale."""
    image = checkerboard()
    with_map, without = drawn(image, values=VALUES), drawn(image)
    assert with_map.width == without.width
    assert with_map.height > without.height
    text = np.asarray(without.convert("L"))[-40:]
    assert text.min() < 100


@pytest.mark.parametrize("size", [(1, 1), (1, 2_000), (2_000, 1), (3, 5)])
def test_any_size_is_drawn(size: tuple[int, int]) -> None:
    """Also images of a few pixels, with room for the sentence."""
    page = drawn(Image.new("RGB", size), values=VALUES, marked=MARKED)
    assert page.width >= heat_map.MIN_WIDTH
