"""Ordinary photographs to verify and calibrate networks with: a folder's, or what packages ship.

Nothing explicit is among those shipped: they show animals, buildings, food, flowers, a rocket, an
astronaut, stars, textures and an eye.
"""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from PIL import Image

from nsfw_app import images
from nsfw_app.errors import ImageError, SettingsError
from nsfw_app.images import SUFFIXES, Limits

# Package, folder in it, names. Packages that this product is built on carry the first three.
SHIPPED = (
    ("nsfw_app", "ui/assets/samples", ("astronaut.jpg", "cat.jpg", "coffee.jpg")),
    ("gradio", "media_assets/images", ("cheetah.jpg", "cheetah1.jpg", "lion.jpg", "tower.jpg")),
    ("sklearn", "datasets/images", ("china.jpg", "flower.jpg")),
    (
        "skimage",
        "data",
        ("brick.png", "camera.png", "grass.png", "gravel.png", "hubble_deep_field.jpg",
         "motorcycle_left.png", "retina.jpg", "rocket.jpg"),
    ),
)  # fmt: skip
LIMITS = Limits(max_bytes=200_000_000, max_pixels=89_478_485, max_frames=1)
MOST = 300  # of a folder: enough for ranges and for a share of 0.5 %
LONGEST = 1_024  # pixels; more than any network looks at


def shipped() -> list[Image.Image]:
    """The photographs of the packages that are installed, each whole, in quarters and mirrored."""
    return [view for image in whole() for view in _views(image)]


def whole() -> list[Image.Image]:
    """The photographs of the packages that are installed."""
    found: list[Image.Image] = []
    for package, folder, names in SHIPPED:
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            continue
        for name in names:
            path = Path(spec.origin).parent / folder / name
            if path.is_file():
                found.append(_opened(path))
    return found


def of_folder(folder: Path) -> list[Image.Image]:
    """The images below a folder, at most `MOST` of them, evenly spread over their names.

    Raises:
        SettingsError: There is none that can be read.
    """
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    step = max(1, len(paths) / MOST)
    chosen = [paths[int(i * step)] for i in range(min(len(paths), MOST))]
    found = list(_readable(chosen))
    if not found:
        raise SettingsError(f"{folder} holds no image that can be read.")
    return found


def _readable(paths: list[Path]) -> Iterator[Image.Image]:
    for path in paths:
        try:
            yield _opened(path)
        except ImageError:
            continue  # a damaged file says nothing about a network


def _opened(path: Path) -> Image.Image:
    data = images.read_file(path, LIMITS)
    image = images.decode(data, name=path.name, limits=LIMITS).frames[0].image
    image.thumbnail((LONGEST, LONGEST))
    return image


def _views(image: Image.Image) -> Iterator[Image.Image]:
    """A photograph and five others within it."""
    yield image
    yield image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    middle, height = image.width // 2, image.height // 2
    for left in (0, middle):
        for top in (0, height):
            yield image.crop((left, top, left + middle, top + height))
