"""Generated images with few edges: flat colors, gradients, dark scenes, text, screenshots."""

import io
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

COLORS = ("white", "silver", "black", "navy", "teal", "maroon", "olive", "red", "#ff6060")
WORDS = "a review of images in the queue that no one has seen before this week or after it".split()
SIZE = (640, 480)


def distinct() -> dict[str, Image.Image]:
    """Images of which no two are near duplicates, by name."""
    found = {f"flat {color}": Image.new("RGB", SIZE, color) for color in COLORS}
    for first, last in [("black", "white"), ("white", "black"), ("navy", "red"), ("teal", "white")]:
        for turn in (0, 90):
            found[f"gradient {first} {last} {turn}"] = _gradient(first, last, turn)
    for number in range(8):
        found[f"dark {number}"] = _dark_scene(np.random.default_rng(number))
        found[f"text {number}"] = _page(np.random.default_rng(number))
        found[f"dark text {number}"] = _page(np.random.default_rng(100 + number), dark=True)
        found[f"blank page {number}"] = _nearly_blank(number, "white", "black")
        found[f"dark page {number}"] = _nearly_blank(number, "black", "#909090")
        found[f"screenshot {number}"] = _screenshot(np.random.default_rng(number))
    for caption in ("D3", "G6", "B8", "A1", "OK", "NO"):
        found[f"caption {caption}"] = _caption(caption)
    return found


def copies(image: Image.Image) -> Iterator[tuple[str, Image.Image]]:
    """Near duplicates of an image: encoded again, resized, slightly cropped."""
    for quality in (50, 85):
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality)
        yield f"quality {quality}", Image.open(buffer).convert("RGB")
    for scale in (0.5, 1.7):
        size = round(image.width * scale), round(image.height * scale)
        yield f"scale {scale}", image.resize(size, Image.Resampling.LANCZOS)
    edge = image.width // 200, image.height // 200
    box = (*edge, image.width - edge[0], image.height - edge[1])
    yield "cropped", image.crop(box)


def _gradient(first: str, last: str, turn: int) -> Image.Image:
    ends = np.array([Image.new("RGB", (1, 1), color).getpixel((0, 0)) for color in (first, last)])
    share = np.linspace(0, 1, SIZE[0])[None, :, None]
    row = ends[0] * (1 - share) + ends[1] * share
    pixels = np.repeat(row, SIZE[1], axis=0).round().astype(np.uint8)
    return Image.fromarray(pixels).rotate(turn, expand=True)


def _dark_scene(rng: np.random.Generator) -> Image.Image:
    """A few dim lights on black, blurred, with the grain of a camera."""
    image = Image.new("RGB", SIZE, (4, 4, 6))
    draw = ImageDraw.Draw(image)
    for _ in range(4):
        x, y = rng.integers(0, SIZE[0]), rng.integers(0, SIZE[1])
        radius = int(rng.integers(20, 90))
        color = tuple(int(value) for value in rng.integers(10, 70, 3))
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), color)
    pixels = np.asarray(image.filter(ImageFilter.GaussianBlur(12)), dtype=float)
    grain = rng.normal(0, 1.5, pixels.shape[:2])[..., None]
    return Image.fromarray((pixels + grain).clip(0, 255).astype(np.uint8))


def _page(rng: np.random.Generator, *, dark: bool = False) -> Image.Image:
    """A page of words in paragraphs."""
    paper, ink = ("#101010", "#d0d0d0") if dark else ("white", "black")
    image = Image.new("RGB", SIZE[::-1], paper)
    _write(image, rng, (40, 40, SIZE[1] - 40, SIZE[0] - 40), ink)
    return image


def _nearly_blank(number: int, paper: str, ink: str) -> Image.Image:
    """A page with one line of text; the number says where."""
    image = Image.new("RGB", SIZE, paper)
    place = 60 + 300 * (number % 2), 40 + 110 * (number // 2)
    draw = ImageDraw.Draw(image)
    draw.text(place, " ".join(WORDS[number : number + 5]), ink, ImageFont.load_default(18))
    return image


def _screenshot(rng: np.random.Generator) -> Image.Image:
    """A window with a title bar, a side bar and text."""
    image = Image.new("RGB", SIZE, "#f5f5f5")
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, SIZE[0], 30), "#3b5998")
    draw.rectangle((0, 30, 120, SIZE[1]), "#e0e0e0")
    _write(image, rng, (140, 50, SIZE[0] - 20, SIZE[1] - 20), "black")
    return image


def _caption(words: str) -> Image.Image:
    image = Image.new("RGB", (600, 400), "white")
    draw = ImageDraw.Draw(image)
    draw.text((300, 200), words, "black", ImageFont.load_default(140), anchor="mm")
    return image


def _write(
    image: Image.Image, rng: np.random.Generator, box: tuple[int, int, int, int], ink: str
) -> None:
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(14)
    left, y, right, bottom = box
    while y < bottom:
        end = right if rng.random() < 0.75 else left + int((right - left) * rng.random())
        line = ""
        while draw.textlength(line, font) < end - left:
            line += f"{WORDS[rng.integers(len(WORDS))]} "
        draw.text((left, y), line.rpartition(" ")[0][:-4], ink, font)
        y += 20 if end == right else 40
